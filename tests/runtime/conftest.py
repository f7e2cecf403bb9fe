import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mutualvideo.config import get_cfg
from mutualvideo.config.load import cfg_to_dict
from mutualvideo.export import open_origin
from mutualvideo.media.encode import VideoWriter
from mutualvideo.models import build_model
from mutualvideo.slim import calibrate, count_macs, get_statistics
from mutualvideo.subnet import Subnet
from mutualvideo.table.cascade import Cascade, CascadeCurve, CascadePoint
from mutualvideo.table.fingerprint import fingerprint
from mutualvideo.table.query import QueryTable, Row

CLASSES = ["wave", "point", "push"]
FULL = Subnet(1, 6, 40)
# (sub-network, top-1): costs grow down the list; the last one is never calibrated.
GRID = [(Subnet(0.5, 3, 32), 50.0), (Subnet(0.75, 6, 32), 70.0), (FULL, 90.0)]
UNCALIBRATED = Subnet(0.5, 6, 40)
# Of the run with two rows.
SUBNETS = [GRID[0][0], FULL]


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_cfg():
    cfg = get_cfg()
    cfg.MODEL.NUM_CLASSES = len(CLASSES)
    cfg.X3D.DIM_C1, cfg.X3D.DIM_C5 = 8, 16
    cfg.X3D.DEPTH_FACTOR = 0.4
    cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE = FULL.frames, 2
    cfg.DATA.TRAIN_CROP_SIZE = cfg.DATA.TEST_CROP_SIZE = FULL.size
    cfg.DATA.MEAN, cfg.DATA.STD = [0.3, 0.4, 0.5], [0.2, 0.25, 0.3]
    cfg.MUTUAL.WIDTH_RANGE = [0.5, 1.0]
    return cfg


@pytest.fixture(scope="session")
def run_dir(tiny_cfg, tmp_path_factory):
    """A folder as a training run leaves it: checkpoint, statistics, query table."""
    folder = tmp_path_factory.mktemp("run")
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(tiny_cfg).eval()
        for parameter in model.parameters():
            if parameter.dim() == 2:
                # Answers that differ from clip to clip, unlike those of a fresh network.
                torch.nn.init.normal_(parameter)
    clips = [torch.randn(2, 3, FULL.frames, FULL.size, FULL.size, generator=generator)]
    calibrate(model, [subnet for subnet, _ in GRID], clips * 2)
    torch.save({"model_state": model.state_dict(), "cfg": cfg_to_dict(tiny_cfg)}, folder / "c.pyth")
    torch.save(get_statistics(model), folder / "s.pyth")
    rows = [
        Row(subnet, count_macs(model, subnet), 1000, top1, 100.0, 2.0 + number)
        for number, (subnet, top1) in enumerate(GRID)
    ]
    rows.append(Row(UNCALIBRATED, count_macs(model, UNCALIBRATED), 1000, 80.0, 100.0, 3.5))
    metadata = {
        "checkpoint": "c.pyth",
        "statistics": "s.pyth",
        "fingerprint": fingerprint(folder / "c.pyth"),
        "classes": CLASSES,
    }
    QueryTable(rows, metadata).save_json(folder / "query_table.json")
    return folder


def curve(*cascades):
    """Cascades that win, each at 10 multiply-adds more than the one before, from 300 on."""
    return CascadeCurve(
        CascadePoint(300 + 10 * i, cascade, GRID[0][0], 300.0, 90.0, 100.0, 50.0, 1.0)
        for i, cascade in enumerate(cascades)
    )


@pytest.fixture(scope="session")
def write_video(tmp_path_factory):
    """Encodes a video of a brightening background; its frame number can be read off it."""

    def write(name, frames, height=48, width=64, fps=30):
        path = tmp_path_factory.mktemp("video") / name
        with VideoWriter(path, fps) as writer:
            for number in range(frames):
                writer.write(np.full((height, width, 3), 2 * number % 256, np.uint8))
        return path

    return write


@pytest.fixture(scope="session")
def run(run_dir, tmp_path_factory):
    """The run with its cheapest and dearest row alone, and less certain of its answers."""
    folder = Path(shutil.copytree(run_dir, tmp_path_factory.mktemp("unsure") / "run"))
    checkpoint = torch.load(folder / "c.pyth", weights_only=True)
    for name, value in checkpoint["model_state"].items():
        if ".proj." in name:
            value *= 0.1
    torch.save(checkpoint, folder / "c.pyth")
    table = QueryTable.load_json(folder / "query_table.json")
    curve(Cascade(SUBNETS, (0.9,)), Cascade((SUBNETS[0], GRID[1][0]), (0.9,))).save_json(
        folder / "cascades.json"
    )
    about = {
        **table.metadata,
        "fingerprint": fingerprint(folder / "c.pyth"),
        "cascades": "cascades.json",
    }
    rows = [table[subnet] for subnet in SUBNETS]
    QueryTable(rows, about).save_json(folder / "query_table.json")
    return folder


@pytest.fixture(scope="session")
def source(run):
    return open_origin(run)
