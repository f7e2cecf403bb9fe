import json

import pytest

from mutualvideo.budget import Budget
from mutualvideo.errors import InputError
from mutualvideo.subnet import Subnet
from mutualvideo.table.continual_table import ContinualRow, ContinualTable

# macs of a frame, frames a second, top-1, ms: 10 frames a second of 1M are 10M a second.
ROWS = [
    ContinualRow(Subnet(0.5, 8, 112), 1_000_000, 10.0, 28, 4000, 60.0, 2.0),
    ContinualRow(Subnet(1, 4, 112), 4_000_000, 5.0, 28, 9000, 80.0, 8.0, threads=2),
    ContinualRow(Subnet(1, 8, 112), 4_000_000, 10.0, 28, 9000, 75.0, 8.0, threads=2),
]


@pytest.mark.parametrize(
    "budget, best",
    [("10M/s", 0), ("19M/s", 0), ("20M/s", 1), ("1G/s", 1), ("0.02core", 0), ("0.08core", 1)],
)
def test_the_best_within_a_budget_of_a_second(budget, best):
    assert ContinualTable(ROWS).best(budget) == ROWS[best]
    assert ContinualTable(ROWS).best(Budget.parse(budget)) == ROWS[best]


def test_without_accuracies_the_dearest_is_the_best():
    bare = [ContinualRow(r.subnet, r.macs, r.frames_per_s, 28, 1) for r in ROWS]
    assert ContinualTable(bare).best("1G/s") == bare[2]
    with pytest.raises(InputError, match="has no latency"):
        ContinualTable(bare).best("1core")


@pytest.mark.parametrize("budget", ["10M", "40ms", "25fps"])
def test_budgets_of_clips_are_refused(budget):
    with pytest.raises(InputError, match="multiply-adds a second"):
        ContinualTable(ROWS).best(budget)


def test_below_the_cheapest():
    with pytest.raises(InputError, match="0.5x8x112@continual at 10.0M MACs/s"):
        ContinualTable(ROWS).best("9M/s")


def test_comes_back_from_its_file(tmp_path):
    path = tmp_path / "t.json"
    ContinualTable(ROWS, {"videos": 3}).save_json(path)
    found = ContinualTable.load_json(path)
    assert (found.rows, found.metadata) == (tuple(ROWS), {"videos": 3})
    assert json.loads(path.read_text())["rows"][0]["subnet"] == "0.5x8x112@continual"
    assert found[Subnet(1, 4, 112)] == ROWS[1]
    assert "| 0.5x8x112@continual | 1.00M | 10.00 | 10.0M | 28 |" in found.to_markdown()


@pytest.mark.parametrize(
    "field, value, reason",
    [
        ("subnet", "0.5x8x112", "@continual"),
        ("subnet", "0.5x112@continual", "takes clips"),
        ("macs", 0, "macs must be a whole number"),
        ("frames_per_s", float("inf"), "frames_per_s must be above 0"),
        ("top1", 101, "top1 must be from 0 to 100"),
        ("more", 1, "more"),
    ],
)
def test_a_bad_row_is_named(tmp_path, field, value, reason):
    path = tmp_path / "t.json"
    ContinualTable(ROWS).save_json(path)
    content = json.loads(path.read_text())
    content["rows"][1][field] = value
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"t.json: row 2: .*{reason}"):
        ContinualTable.load_json(path)


def test_a_field_that_is_missing(tmp_path):
    path = tmp_path / "t.json"
    ContinualTable(ROWS).save_json(path)
    content = json.loads(path.read_text())
    del content["rows"][0]["delay"]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"t.json: row 1: {ROWS[0]} has no delay"):
        ContinualTable.load_json(path)


def test_no_row_twice(tmp_path):
    with pytest.raises(InputError, match=f"{ROWS[0]} is in it twice"):
        ContinualTable([ROWS[0], ROWS[0]])
    path = tmp_path / "t.json"
    ContinualTable(ROWS).save_json(path)
    content = json.loads(path.read_text())
    content["rows"].append(content["rows"][0])
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"t.json: continual table: .* twice"):
        ContinualTable.load_json(path)


@pytest.mark.parametrize("mark", ["", "@continual"])
def test_rows_have_names(mark):
    assert ContinualTable(ROWS)[f"{ROWS[0].subnet}{mark}"] == ROWS[0]
