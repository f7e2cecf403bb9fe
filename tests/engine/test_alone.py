"""MUTUAL.SUBNET: one sub-network trained as a network of its own."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from mutualvideo import AdaptiveRecognizer, QueryTable, count_macs
from mutualvideo.engine.train import build_sampler, build_trained, train
from mutualvideo.errors import InputError
from mutualvideo.evaluation.build import evaluate_grid
from mutualvideo.models import build_model, full_subnet
from mutualvideo.run import distributed
from mutualvideo.slim import extract
from mutualvideo.subnet import Subnet
from tests.networks import NETWORKS, few_blocks, make_cfg, subnets

SMALL = {"TABLE__WIDTHS": [], "TABLE__FRAMES": [], "TABLE__SIZES": [], "SOLVER__MAX_EPOCH": 1}


@pytest.mark.parametrize("name", NETWORKS)
def test_starts_as_a_network_built_that_narrow(name):
    """Convolutions in use have He's spread over the outputs that they have, none other."""
    with few_blocks():
        cfg = make_cfg(name)
        subnet = subnets(cfg)[1]
        cfg.MUTUAL.MODE, cfg.MUTUAL.SUBNET = "single", str(subnet)
        torch.manual_seed(0)
        model = build_trained(cfg, torch.device("cpu"))
        assert full_subnet(cfg) == subnet == model.slim_state.full
        assert model.slim_state.width_range == (subnet.width, subnet.width)
        narrow = extract(model, subnet)
    checked = 0
    for module in narrow.modules():
        if isinstance(module, nn.modules.conv._ConvNd) and module.weight.numel() >= 2000:
            fan_out = module.weight.shape[0] * module.weight[0, 0].numel()
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.1)
            checked += 1
    assert checked >= 3


@pytest.mark.parametrize("name", ["X3D", "WideResNet"])
def test_costs_what_the_row_costs(name):
    cfg = make_cfg(name)
    rows = subnets(cfg)[1:3]
    whole = build_model(cfg)
    for row in rows:
        alone = cfg.clone()
        alone.MUTUAL.MODE, alone.MUTUAL.SUBNET = "single", str(row)
        assert count_macs(build_model(alone), row) == count_macs(whole, row)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, video_folder):
    """The folder of a run that trained 0.5x2x32 alone, its table, and the weights before."""
    from tests.engine.conftest import KEYS

    folder = tmp_path_factory.mktemp("alone")
    paths = {"DATA__PATH_TO_DATA_DIR": video_folder, "OUTPUT_DIR": folder}
    keys = {**KEYS, **SMALL, **paths, "MUTUAL__MODE": "single", "MUTUAL__SUBNET": "0.5x2x32"}
    cfg = make_cfg("X3D", **keys)
    context = distributed.setup()
    torch.manual_seed(cfg.RNG_SEED)
    before = build_trained(cfg, torch.device("cpu")).state_dict()
    path = train(cfg, context)
    return folder, cfg, before, path, evaluate_grid(cfg, context, path)


def test_trains_its_channels_alone(trained):
    _, cfg, before, path, _ = trained
    after = torch.load(path, weights_only=True)["model_state"]
    name = "blocks.0.conv.conv_t.weight"
    assert not torch.equal(after[name], before[name])
    # The stem: 8 channels of 8 or more; what is beyond the active ones only decays.
    active = int(
        build_model(cfg).get_submodule("blocks.1.res_blocks.0.branch2.norm_a").num_features
    )
    assert after["blocks.1.res_blocks.0.branch2.norm_a.running_mean"].shape == (active,)
    mean = after["blocks.1.res_blocks.0.branch2.norm_a.running_mean"]
    narrow = extract(build_model(cfg), Subnet(0.5, 2, 32))
    used = narrow.get_submodule("blocks.1.res_blocks.0.branch2.norm_a").num_features
    assert used < active
    assert mean[:used].ne(0).all() and mean[used:].eq(0).all()


def test_table_and_recogniser(trained):
    folder, cfg, _, _, table = trained
    assert [str(row.subnet) for row in table] == ["0.5x2x32"]
    assert table.metadata["subnet"] == "0.5x2x32"
    assert QueryTable.load_json(folder / "query_table.json").rows == table.rows
    recogniser = AdaptiveRecognizer(folder)
    recogniser.set_budget(macs=table.rows[0].macs)
    frames = np.zeros((8, 48, 64, 3), np.uint8)
    assert str(recogniser.predict(frames).subnet) == "0.5x2x32"


def test_the_checkpoint_knows_what_it_is(trained, tiny):
    """Evaluated with a configuration that says nothing of it."""
    _, _, _, path, table = trained
    cfg = tiny(**SMALL, TABLE__SUBNETS=["0.5x2x32"])
    found = evaluate_grid(cfg, distributed.setup(), path)
    assert [row.top1 for row in found] == [row.top1 for row in table]


def test_another_sub_network_does_not_go_on_with_it(trained):
    _, cfg, _, _, _ = trained
    other = cfg.clone()
    other.MUTUAL.SUBNET, other.SOLVER.MAX_EPOCH = "0.5x4x32", 2
    with pytest.raises(InputError, match="trains MUTUAL.SUBNET 0.5x2x32, not 0.5x4x32"):
        train(other, distributed.setup())


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"MUTUAL__MODE": "mutual"}, "set MUTUAL.MODE to single, not mutual"),
        ({"MUTUAL__SUBNET": "0.5x32"}, "MUTUAL.SUBNET: X3D takes 1 to 4 frames"),
        ({"MUTUAL__SUBNET": "0.5x9x32"}, "MUTUAL.SUBNET: X3D takes 1 to 4 frames"),
        ({"MUTUAL__SUBNET": "0.5x4x400"}, "MUTUAL.SUBNET: X3D takes sizes from 32"),
        ({"MUTUAL__SUBNET": "1.5x4x32"}, "at most 1"),
        ({"MUTUAL__SUBNET": "half"}, "sub-network 'half'"),
    ],
)
def test_errors(tiny, changes, named):
    cfg = tiny(**{"MUTUAL__MODE": "single", "MUTUAL__SUBNET": "0.5x4x32", **changes})
    with pytest.raises(InputError, match=named):
        build_sampler(cfg)


def test_no_other_width_in_its_table(tiny):
    from mutualvideo.evaluation.grid import grid_subnets

    with pytest.raises(InputError, match="trained as MUTUAL.SUBNET 0.5x4x32 alone"):
        grid_subnets(tiny(MUTUAL__MODE="single", MUTUAL__SUBNET="0.5x4x32"))
