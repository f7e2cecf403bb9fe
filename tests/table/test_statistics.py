"""TABLE.STATISTICS: which BatchNorm statistics the rows run on."""

import copy
import csv
import json

import jsonschema
import pytest
import torch

from mutualvideo import Subnet, extract, set_subnet, slimmable
from mutualvideo.errors import InputError
from mutualvideo.evaluation.build import evaluate_grid
from mutualvideo.evaluation.choose_statistics import require_choice
from mutualvideo.models import build_model
from mutualvideo.run.distributed import Context
from mutualvideo.slim import batch_norms, is_calibrated, load_statistics, own_statistics
from mutualvideo.table import QueryTable, Row
from mutualvideo.table.schema import query_table_schema
from tests.engine.conftest import one_thread, tiny, video_folder  # noqa: F401  (fixtures)
from tests.networks import randomize_norms
from tests.zoo.upstream import make_input, make_network, run

CPU = Context(torch.device("cpu"))
SUBNETS = ["1x4x40", "0.5x4x40", "1x2x32", "0.75x4x32", "0.5x2x32"]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet", "pytorchvideo_x3d"])
def test_own_statistics_are_what_an_uncalibrated_network_runs_on(name):
    network, x = make_network(name), make_input(name)
    randomize_norms(network)
    slimmable(network, width_range=(0.5, 1.0)).eval()
    frames = x.shape[2] if x.dim() == 5 else None
    subnets = [Subnet(width, frames, x.shape[-1]) for width in (1.0, 0.5)]
    before = []
    with torch.no_grad():
        for subnet in subnets:
            set_subnet(network, subnet)
            before.append(run(network, x))
        own_statistics(network, subnets, x)
        # Another full network does not change them any more.
        for _, norm in batch_norms(network):
            norm.running_mean.zero_()
            norm.running_var.fill_(1)
        for subnet, expected in zip(subnets, before, strict=True):
            assert is_calibrated(network, subnet)
            set_subnet(network, subnet)
            torch.testing.assert_close(run(network, x), expected, rtol=0, atol=0)
            alone = run(extract(network, subnet), x)
            torch.testing.assert_close(alone, expected, rtol=1e-4, atol=1e-4)


def test_a_network_without_running_statistics_has_none_to_keep():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3),
        torch.nn.BatchNorm2d(16, track_running_stats=False),
        torch.nn.Conv2d(16, 4, 3),
        torch.nn.AdaptiveAvgPool2d(1),
    )
    slimmable(network, example=torch.zeros(1, 3, 16, 16))
    with pytest.raises(InputError, match="1 keeps no running statistics"):
        own_statistics(network, [Subnet(0.5, None, 16)], torch.zeros(1, 3, 16, 16))


@pytest.fixture
def evaluated(tiny, tmp_path):  # noqa: F811
    """Tables of one untrained network, by TABLE.STATISTICS; and their folders."""

    def evaluate(statistics):
        cfg = tiny(
            OUTPUT_DIR=tmp_path / statistics,
            TABLE__STATISTICS=statistics,
            TABLE__WIDTHS=[],
            TABLE__FRAMES=[],
            TABLE__SIZES=[],
            TABLE__SUBNETS=SUBNETS,
            TABLE__LATENCY=False,
            TABLE__CASCADES=False,
            TEST__NUM_ENSEMBLE_VIEWS=1,
        )
        torch.manual_seed(0)
        model = build_model(cfg)
        randomize_norms(model)
        weights = tmp_path / "weights.pyth"
        torch.save({"model_state": model.state_dict()}, weights)
        return evaluate_grid(cfg, CPU, weights), tmp_path / statistics, model

    return evaluate


def test_rows_that_keep_the_full_networks_statistics(evaluated):
    table, folder, model = evaluated("own")
    assert [row.statistics for row in table] == ["own"] * 5
    found = torch.load(folder / "query_table.bn.pyth")["subnets"]
    for name, norm in batch_norms(model):
        mean, var = found["1x4x40"][name]
        assert torch.equal(mean, norm.running_mean) and torch.equal(var, norm.running_var)
        mean, var = found["0.5x2x32"][name]
        assert torch.equal(mean, norm.running_mean[: len(mean)])
    content = json.loads((folder / "query_table.json").read_text())
    jsonschema.validate(content, query_table_schema())
    assert {row["statistics"] for row in content["rows"]} == {"own"}
    with open(folder / "query_table.csv", newline="") as lines:
        assert [row["statistics"] for row in csv.DictReader(lines)] == ["own"] * 5
    assert table.to_text().split("\n")[0].endswith("statistics")
    assert [row.statistics for row in QueryTable.load_json(folder / "query_table.json")] == [
        "own"
    ] * 5
    # Whoever loads them (the runtime, export) answers as the network does that has no others.
    loaded = copy.deepcopy(model).eval()
    load_statistics(loaded, folder / "query_table.bn.pyth")
    clip, subnet = torch.randn(1, 3, 2, 32, 32), Subnet(0.5, 2, 32)
    answers = []
    for network in (loaded, model.eval()):
        set_subnet(network, subnet)
        with torch.no_grad():
            answers.append(network(clip))
    assert is_calibrated(loaded, subnet) and not is_calibrated(model, subnet)
    assert torch.equal(*answers)


def test_the_better_ones_row_by_row(evaluated):
    tables = {name: evaluated(name)[0] for name in ("calibrated", "own", "best")}
    # The test list is the val list here, so what was chosen can be read off the other tables.
    for calibrated, own, best in zip(*tables.values(), strict=True):
        expected = "own" if own.top1 > calibrated.top1 else "calibrated"
        assert best.statistics == expected
        assert best.top1 == max(own.top1, calibrated.top1)
    assert "statistics" not in tables["calibrated"].to_text()


def test_an_unknown_choice():
    with pytest.raises(InputError, match="TABLE.STATISTICS 'mine' is unknown; choose from: cal"):
        require_choice("mine")
    with pytest.raises(InputError, match="statistics must be one of calibrated, own, got 'mine'"):
        Row(Subnet(1.0, None, 32), 5, 6, statistics="mine")


def test_tables_of_before_have_calibrated_rows(tmp_path):
    table = QueryTable([Row(Subnet(1.0, None, 32), 5, 6, 50.0, 90.0)])
    table.save_json(tmp_path / "table.json")
    content = json.loads((tmp_path / "table.json").read_text())
    assert "statistics" not in content["rows"][0]
    (row,) = QueryTable.load_json(tmp_path / "table.json")
    assert row.statistics == "calibrated"
