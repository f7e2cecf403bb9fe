"""What is exported into a folder, and what is not."""

from dataclasses import replace

import pytest

from mutualvideo.errors import InputError
from mutualvideo.export import DifferenceError, Origin, export_folder, open_origin
from mutualvideo.export.deploy_folder import _save_cascades, choose_rows
from mutualvideo.subnet import Subnet
from mutualvideo.table.cascade import Cascade, CascadeCurve
from mutualvideo.table.query import QueryTable, Row
from tests.runtime.conftest import CLASSES, FULL, GRID, SUBNETS, curve


def test_rows_are_pareto_by_either_cost():
    names = [Subnet(0.5, 4, 32 + number) for number in range(4)]
    costs = [(10, 50.0, 9.0), (20, 40.0, 3.0), (30, 45.0, 5.0), (40, 44.0, 8.0)]
    rows = [
        Row(subnet, macs, 1, top1, 90.0, ms)
        for subnet, (macs, top1, ms) in zip(names, costs, strict=True)
    ]
    assert choose_rows(QueryTable(rows), "pareto") == rows[:3]
    assert choose_rows(QueryTable(rows), "all") == rows
    unmeasured = [replace(row, latency_ms=None) for row in rows]
    assert choose_rows(QueryTable(unmeasured), "pareto") == unmeasured[:1]
    with pytest.raises(InputError, match="no top1"):
        choose_rows(QueryTable([Row(FULL, 1, 1)]), "pareto")


def test_what_cannot_be_exported_leaves_nothing(run_dir, source, tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    for arguments, named in (
        ((open_origin(run_dir), "torch_export", tmp_path / "a", "all"), "was never calibrated"),
        (
            (source, "pytorchvideo", tmp_path / "a"),
            "executes folders of torch_export, onnx, openvino$",
        ),
        ((source, "torch_export", tmp_path / "there"), "there: is there already"),
        ((source, "torch_export", tmp_path / "a", "some"), "rows 'some'"),
    ):
        with pytest.raises(InputError, match=named):
            export_folder(*arguments)
    seen = []

    def network(self, subnet, fold=True, original=Origin.network):
        made = original(self, subnet, fold)
        if len(seen) == 1:
            # The second one is wrong.
            next(p for p in made.parameters() if p.shape == (len(CLASSES),)).data[0] += 0.01
        return made

    monkeypatch.setattr(Origin, "network", network)
    with pytest.raises(DifferenceError, match="1x6x40"):
        export_folder(source, "torch_export", tmp_path / "a", report=seen.append)
    assert len(seen) == 1 and [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize("static, kept", [(GRID[0][0], True), (Subnet(0.7, 4, 32), False)])
def test_cascades_whose_single_row_is_elsewhere_stay_behind(tmp_path, static, kept):
    """Where a cascade does not win, its budget goes to that row."""
    (point,) = curve(Cascade(SUBNETS, (0.9,))).points
    CascadeCurve([replace(point, static=static)]).save_json(tmp_path / "c.json")
    rows = [Row(subnet, 100, 10) for subnet in SUBNETS]
    table = QueryTable(rows, {"cascades": "c.json"})
    table.save_json(tmp_path / "t.json")
    table = QueryTable.load_json(tmp_path / "t.json")
    assert _save_cascades(table, rows, tmp_path / "out.json") is kept
    assert (tmp_path / "out.json").exists() is kept
