import functools

import pytest
import torch

from mutualvideo.config import takes_pictures
from mutualvideo.config.load import cfg_to_dict
from mutualvideo.export import open_origin
from mutualvideo.export.parity import probes
from mutualvideo.models import build_model
from mutualvideo.slim import calibrate, count_costs, get_statistics, set_subnet, subnet_input
from mutualvideo.subnet import Subnet
from mutualvideo.table.fingerprint import fingerprint
from mutualvideo.table.query import QueryTable, Row
from tests.networks import few_blocks, make_cfg, randomize_norms

CLASSES = ["wave", "point", "push", "pull", "lift", "drop", "turn"]
KEYS = {
    "X3D": {"X3D__DEPTH_FACTOR": 0.4, "X3D__DIM_C5": 64, "BN__EPSILON": 1e-3},
    "ResNet": {},
    "SlowFast": {},
    "MobileNetV2": {},
}
# The last one is never calibrated.
SUBNETS = {
    "X3D": ("0.63x2x32", "0.8x4x64", "1x4x64", "0.63x4x64"),
    "ResNet": ("0.63x2x32", "0.63x4x64"),
    "SlowFast": ("0.63x2x48", "0.63x4x64", "0.8x4x64"),
    "MobileNetV2": ("0.63x32", "0.63x48", "0.8x64"),
}


@pytest.fixture(autouse=True)
def shallow():
    """Exporting takes a time by the layer, and blocks of a kind are exported alike."""
    with few_blocks():
        yield


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """name -> (folder as a run leaves it, the slimmable network that was saved there)."""
    known = {}

    def make(name):
        if name not in known:
            folder = tmp_path_factory.mktemp(name)
            known[name] = folder, write_run(folder, name)
        return known[name]

    return make


def write_run(folder, name):
    cfg = make_cfg(name, MODEL__NUM_CLASSES=len(CLASSES), **KEYS[name])
    cfg.DATA.MEAN, cfg.DATA.STD = [0.3, 0.4, 0.5], [0.2, 0.25, 0.3]
    subnets = [Subnet.parse(text) for text in SUBNETS[name]]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(cfg).eval()
    randomize_norms(model)
    # The kind of clips that files are compared with, so that activations keep in bounds.
    frames = None if takes_pictures(cfg) else cfg.DATA.NUM_FRAMES
    clip = torch.from_numpy(probes(frames, 64, cfg.DATA.MEAN, cfg.DATA.STD, seed=1))
    calibrate(model, subnets[:-1], [clip])
    with torch.no_grad():
        # Logits of the size that training gives them.
        head = [p for p in model.parameters() if p.dim() == 2][-1]
        set_subnet(model, subnets[0])
        head.mul_(3 / model(subnet_input(model, clip, subnets[0])).std())
    torch.save({"model_state": model.state_dict(), "cfg": cfg_to_dict(cfg)}, folder / "c.pyth")
    torch.save(get_statistics(model), folder / "s.pyth")
    costs = count_costs(model, subnets)
    rows = [
        Row(subnet, costs[subnet].macs, costs[subnet].params, 50.0 + number, 90.0, 2.0 + number)
        for number, subnet in enumerate(subnets)
    ]
    metadata = {
        "checkpoint": "c.pyth",
        "statistics": "s.pyth",
        "fingerprint": fingerprint(folder / "c.pyth"),
        "classes": CLASSES,
    }
    QueryTable(rows, metadata).save_json(folder / "query_table.json")
    return model


@pytest.fixture(scope="session")
def opened(made):
    """name -> what is exported, opened once: no export changes it."""
    return functools.cache(lambda name: open_origin(made(name)[0]))


@pytest.fixture
def source(opened):
    """That of the small X3D."""
    return opened("X3D")
