"""tools/flops_table.py: costs alone, the whole table, and what an interruption leaves."""

import json
import sys

import pytest
import torch

from mutualvideo import QueryTable, Subnet, count_macs
from mutualvideo.commands.tool import run_tool
from mutualvideo.config.load import cfg_to_dict
from mutualvideo.evaluation import build as build_module
from mutualvideo.evaluation import evaluate as evaluate_module
from mutualvideo.media import with_pyav
from mutualvideo.models import build_model
from mutualvideo.run import resume as work_module
from mutualvideo.runtime import AdaptiveRecognizer
from mutualvideo.slim.batch_norm_layers import batch_norms
from mutualvideo.table.cascade import CascadeCurve
from mutualvideo.table.continual_table import ContinualTable
from tests.engine.conftest import one_thread, tiny, video_folder  # noqa: F401  (fixtures)

from .test_run_net import load_tool


@pytest.fixture
def table_of(tiny, tmp_path, monkeypatch, capsys):  # noqa: F811
    """Runs the tool in this process: returns its exit code and its standard error."""
    tool = load_tool("flops_table")
    path = tmp_path / "tiny.yaml"

    def run(*arguments, **changes):
        path.write_text(tiny(**changes).dump())
        given = ["flops_table.py", "--cfg", str(path), *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", given)
        with pytest.raises(SystemExit) as stopped:
            run_tool(tool.main)
        return stopped.value.code or 0, capsys.readouterr().err

    return run


@pytest.fixture
def checkpoint(tiny, tmp_path):  # noqa: F811
    torch.manual_seed(0)
    path = tmp_path / "c.pyth"
    model = build_model(tiny())
    for parameter in model.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter)
    torch.save({"model_state": model.state_dict(), "cfg": cfg_to_dict(tiny())}, path)
    return path


def test_costs_alone(table_of, tiny, tmp_path):  # noqa: F811
    out = tmp_path / "costs"
    # No data is read.
    assert table_of("--output", out, DATA__PATH_TO_DATA_DIR="nowhere") == (0, "")
    table = QueryTable.load_json(out / "query_table.json")
    assert [str(row.subnet) for row in table] == ["0.5x4x32", "0.5x2x32", "1x4x32", "1x2x32"]
    model = build_model(tiny())
    for row in table:
        assert row.macs == count_macs(model, row.subnet)
        assert (row.top1, row.latency_ms) == (None, None)
    written = {"query_table.json", "query_table.csv", "query_table.md", "stdout.log", ".lock"}
    assert {path.name for path in out.iterdir()} == written


@pytest.mark.parametrize("backend", ["torch", "torch-extracted"])
def test_latencies_of_a_network_that_was_not_trained(table_of, tmp_path, backend):
    out = tmp_path / "costs"
    code, _ = table_of("--output", out, "--latency", "--backend", backend, "--batch", 3)
    assert code == 0
    table = QueryTable.load_json(out / "query_table.json")
    for row in table:
        assert 0 < row.latency_ms <= row.latency_p90_ms
        assert 0 < row.batch_ms <= row.batch_p90_ms
    about = table.metadata["latency"]
    assert (about["backend"], about["batch"], about["device"]) == (backend, 3, "cpu")
    assert about["threads"] == torch.get_num_threads() and about["versions"]["torch"]


def test_the_whole_table(table_of, checkpoint, tmp_path):
    out = tmp_path / "whole"
    assert table_of("--output", out, "--checkpoint", checkpoint, "--overlay", "x3d")[0] == 0
    names = {path.name for path in out.iterdir()}
    assert {"query_table.json", "query_table.md", "flops_accuracy.png", "results.json"} <= names
    # Four videos are too few for cascades, and latencies were not asked for.
    assert not {"query_table.cascade.json", "latency_accuracy.png"} & names
    assert "no cascades are written" in (out / "stdout.log").read_text()
    assert not [name for name in names if "work" in name]
    table = QueryTable.load_json(out / "query_table.json")
    assert all(0 <= row.top1 <= 100 and row.latency_ms is None for row in table)
    assert table_of("--overlay", "x4d")[0] == 2
    assert table_of("--backend", "tensorrt", "--latency")[0] == 2


def test_rows_in_continual_form_have_statistics_of_their_own(table_of, checkpoint, tmp_path):
    """The file beside the table; a recogniser of streams runs on it, one of clips does not."""
    out = tmp_path / "rows"
    keys = {"TABLE__CONTINUAL": True, "TABLE__LATENCY": False, "TABLE__WIDTHS": [0.5]}
    code, _ = table_of("--output", out, "--checkpoint", checkpoint, "TABLE.CASCADES", False, **keys)
    assert code == 0
    rows = ContinualTable.load_json(out / "query_table.continual.json")
    assert [str(row) for row in rows] == ["0.5x4x32@continual", "0.5x2x32@continual"]
    of_clips = get_loaded(out / "query_table.bn.pyth")
    of_streams = get_loaded(rows.statistics_beside(out / "query_table.continual.json"))
    assert of_clips.keys() == of_streams.keys() == {"0.5x4x32", "0.5x2x32"}
    recognizer = AdaptiveRecognizer(out, mode="continual")
    subnet = rows.rows[0].subnet
    for network, wanted in (
        (recognizer.backend.model, of_clips),
        (recognizer.frames.form(subnet).network, of_streams),
    ):
        for name, norm in batch_norms(network):
            mean, var = wanted[str(subnet)][name]
            assert torch.equal(norm.statistics[subnet][0], mean)
            assert torch.equal(norm.statistics[subnet][1], var)
    # Clips of 4 frames see zeros at both ends; streams are longer.
    last = list(of_clips["0.5x4x32"])[-1]
    assert not torch.equal(of_clips["0.5x4x32"][last][0], of_streams["0.5x4x32"][last][0])


def get_loaded(path):
    return torch.load(path, weights_only=True)["subnets"]


def test_cascades_of_enough_videos(table_of, checkpoint, video_folder, tmp_path):  # noqa: F811
    lists = tmp_path / "lists"
    lists.mkdir()
    lines = [f"{video_folder}/{n % 8}.mp4 {n % 2}\n" for n in range(12)]
    for split in ("train", "val"):
        (lists / f"{split}.csv").write_text("".join(lines))
    out = tmp_path / "whole"
    arguments = "--output", out, "--checkpoint", checkpoint
    assert table_of(*arguments, DATA__PATH_TO_DATA_DIR=lists)[0] == 0
    table = QueryTable.load_json(out / "query_table.json")
    curve = CascadeCurve.load_json(table.path_of("cascades"))
    assert curve.metadata["videos"] == 12 and curve.metadata["clips_per_video"] == 2
    assert {point.static for point in curve.points} <= {row.subnet for row in table}
    assert (out / "cascades.png").stat().st_size > 1000
    (tmp_path / "off").mkdir()
    off = "--output", tmp_path / "off", "--checkpoint", checkpoint, "TABLE.CASCADES", "False"
    assert table_of(*off, DATA__PATH_TO_DATA_DIR=lists)[0] == 0
    assert not (tmp_path / "off" / "cascades.png").exists()


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("after", [1, 3])
def test_interrupted_it_goes_on_where_it_stopped(
    table_of, checkpoint, tmp_path, monkeypatch, after
):
    arguments = "--checkpoint", checkpoint, "TEST.BATCH_SIZE", 2
    assert table_of("--output", tmp_path / "whole", *arguments)[0] == 0
    monkeypatch.setattr(work_module.Work, "due", lambda self: True)
    add, count = evaluate_module.Tally.add, 0

    def interrupt(self, *answers):
        nonlocal count
        if count == after:
            raise Interrupted
        count += 1
        add(self, *answers)

    out = tmp_path / "cut"
    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(evaluate_module.Tally, "add", interrupt)
        table_of("--output", out, *arguments)
    (left,) = out.glob("query_table.work*")
    assert not (out / "query_table.json").exists()
    # The statistics are there already, and so are the first batches: nobody decodes for them.
    decoded = []
    open_video = with_pyav.VideoReader.__init__

    def spy(self, path, *rest):
        decoded.append(path)
        open_video(self, path, *rest)

    monkeypatch.setattr(with_pyav.VideoReader, "__init__", spy)
    monkeypatch.setattr(build_module, "choose_statistics", None)
    assert table_of("--output", out, *arguments)[0] == 0
    # Four videos of two views, one video a batch.
    assert len(set(decoded)) == 4 - after
    assert not left.exists()
    rows = [
        json.loads((tmp_path / name / "query_table.json").read_text())["rows"]
        for name in ("whole", "cut")
    ]
    assert rows[0] == rows[1]
    predictions = [
        (tmp_path / name / "evaluation" / "0.5x2x32" / "predictions.csv").read_text()
        for name in ("whole", "cut")
    ]
    assert predictions[0] == predictions[1]
    assert Subnet.parse("0.5x2x32") in [
        row.subnet for row in QueryTable.load_json(out / "query_table.json")
    ]
