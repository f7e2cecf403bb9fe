import csv
import json
from dataclasses import replace

import pytest

from mutualvideo.errors import InputError
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import FORMAT, VERSION, QueryTable, Row
from mutualvideo.table.schema import query_table_schema

COSTS = {"macs": "macs", "ms": "latency_ms"}


def row(name, macs, top1=None, ms=None):
    return Row(Subnet.parse(name), macs, 10, top1, top1, ms)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("kind", ["macs", "ms"])
def test_best_equals_brute_force(random_table, seed, kind):
    table = random_table(seed)
    costs = sorted({getattr(r, COSTS[kind]) for r in table})
    for budget in [*costs, *(cost + 0.5 for cost in costs)]:
        inside = [r for r in table if getattr(r, COSTS[kind]) <= budget]
        best = table.best(**{kind: budget})
        assert best in inside
        assert best.top1 == max(r.top1 for r in inside)
        assert best.macs == min(r.macs for r in inside if r.top1 == best.top1)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("kind", ["macs", "ms"])
def test_pareto_equals_its_definition(random_table, seed, kind):
    table = random_table(seed)

    def cost(r):
        return getattr(r, COSTS[kind])

    def beaten(r):
        return any(
            cost(o) <= cost(r) and o.top1 >= r.top1 and (cost(o), o.top1) != (cost(r), r.top1)
            for o in table
        )

    front = table.pareto(kind)
    assert {r.subnet for r in front} == {r.subnet for r in table if not beaten(r)}
    assert [cost(r) for r in front] == sorted(cost(r) for r in front)


@pytest.mark.parametrize("seed", range(5))
def test_costs_alone_give_the_greatest_macs(random_table, seed):
    table = random_table(seed, accuracy=False)
    for budget in (300, 650, 1200):
        inside = [r.macs for r in table if r.macs <= budget]
        if inside:
            assert table.best(macs=budget).macs == max(inside)
    for budget in (9.0, 18.0):
        inside = [r.macs for r in table if r.latency_ms <= budget]
        if inside:
            assert table.best(ms=budget).macs == max(inside)


@pytest.mark.parametrize("budget", ["2G/s", "0.3core"])
def test_a_budget_of_a_stream(random_table, budget):
    with pytest.raises(InputError, match="is of a stream in continual form; that of clips is in"):
        random_table(0).best(budget)


def test_budget_below_the_cheapest_names_it():
    table = QueryTable([row("1x8x160", 900, 80.0, 9.0), row("0.5x4x112", 123_000_000, 60.0, 7.5)])
    with pytest.raises(InputError, match=r"1x8x160 at 900 MACs"):
        table.best(macs=899)
    with pytest.raises(InputError, match=r"7.0 ms is below .* 0.5x4x112 at 7.5 ms"):
        table.best(ms=7)


@pytest.mark.parametrize("budgets", [{}, {"macs": 10, "ms": 10}, {"macs": None}])
def test_exactly_one_budget(random_table, budgets):
    with pytest.raises(InputError, match="exactly one budget"):
        random_table(0).best(**budgets)


def test_questions_the_table_cannot_answer(random_table):
    with pytest.raises(InputError, match="no latency"):
        random_table(0, latency=False).best(ms=40)
    with pytest.raises(InputError, match="no latency"):
        random_table(0, latency=False).pareto("ms")
    with pytest.raises(InputError, match="no top1"):
        random_table(0, accuracy=False).pareto()
    with pytest.raises(InputError, match="'flops'"):
        random_table(0).pareto("flops")
    with pytest.raises(InputError, match="no rows"):
        QueryTable([]).best(macs=1)
    # Half evaluated: which is better, 60 % or unknown?
    half = QueryTable([row("1x8x160", 9, 80.0), row("0.5x8x160", 8)])
    for question in (lambda: half.best(macs=9), half.pareto):
        with pytest.raises(InputError, match="0.5x8x160 has no top1"):
            question()
    with pytest.raises(InputError, match="2x1x1"):
        half[Subnet(2, 1, 1)]


def test_no_sub_network_twice():
    with pytest.raises(InputError, match="0.5x8x160.* twice"):
        QueryTable([row("0.5x8x160", 1), row("1x8x160", 2), row("0.50x8x160", 3)])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("macs", 0),
        ("macs", 1.5),
        ("macs", True),
        ("macs", None),
        ("params", -1),
        ("top1", 100.1),
        ("top1", float("nan")),
        ("top5", "90"),
        ("latency_ms", float("inf")),
        ("latency_ms", -1.0),
        ("latency_ms", 0.0),
        ("clip_top1", 101),
        ("macs_per_video", 0),
        ("macs_per_video", 1.5),
        ("subnet", "1x8x160"),
    ],
)
def test_row_checks_its_values(field, value):
    good = {"subnet": Subnet(1, 8, 160), "macs": 1, "params": 1}
    with pytest.raises(InputError, match=field):
        Row(**{**good, field: value})


@pytest.mark.parametrize("accuracy", [True, False])
def test_json_round_trip(random_table, tmp_path, accuracy):
    table = random_table(3, accuracy=accuracy)
    path = tmp_path / "deep" / "table.json"
    table.save_json(path)
    again = QueryTable.load_json(path)
    assert again.rows == table.rows
    assert again.metadata == table.metadata
    assert again.metadata["macs"].startswith("multiply-adds")
    assert again.folder == path.parent
    assert [p.name for p in path.parent.iterdir()] == ["table.json"]
    content = json.loads(path.read_text())
    assert (content["format"], content["version"]) == (FORMAT, VERSION)


def test_failed_save_leaves_the_old_file(random_table, tmp_path):
    path = tmp_path / "table.json"
    random_table(0).save_json(path)
    before = path.read_bytes()
    for bad in ({"x": object()}, {"x": float("nan")}):
        with pytest.raises(InputError, match="metadata"):
            QueryTable([], bad).save_json(path)
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="cannot be written"):
        random_table(0).save_json(path / "below_a_file.json")


GOOD = {"subnet": "1x8x160", "macs": 5, "params": 6, "top1": 50.0}


def content(**changes):
    return {"format": FORMAT, "version": 1, "metadata": {}, "rows": [GOOD], **changes}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("not json", "not a JSON"),
        ("[" * 100_000, "not a JSON"),
        ('"text"', "not a query table"),
        (json.dumps(content(format="other")), "not a query table"),
        (json.dumps(content(version=3)), "version 3"),
        (json.dumps(content(version=0)), "version 0"),
        (json.dumps(content(version=True)), "version True"),
        (json.dumps(content(metadata=[])), "metadata"),
        (json.dumps(content(rows={})), "rows"),
        (json.dumps(content(rows=[GOOD, 7])), "row 2"),
        (json.dumps(content(rows=[{**GOOD, "top_1": 3}])), "row 1: unknown field 'top_1'"),
        (json.dumps(content(rows=[{"subnet": "1x8x160", "macs": 5}])), "'params' is missing"),
        (json.dumps(content(rows=[GOOD, {**GOOD, "subnet": "wide"}])), "row 2: .*'wide'"),
        (json.dumps(content(rows=[{**GOOD, "macs": "5"}])), "row 1: row 1x8x160: macs"),
        (json.dumps(content(rows=[{**GOOD, "top1": float("nan")}])), "row 1: .* top1"),
        (json.dumps(content(rows=[GOOD, GOOD])), "1x8x160.* twice"),
    ],
)
def test_load_json_names_file_and_row(tmp_path, text, named):
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(InputError, match=f"table.json: .*{named}") as info:
        QueryTable.load_json(path)
    assert "\n" not in str(info.value)


def test_load_json_refuses_what_is_no_text_file(tmp_path):
    with pytest.raises(InputError, match="missing.json: cannot be read"):
        QueryTable.load_json(tmp_path / "missing.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="binary.json"):
        QueryTable.load_json(tmp_path / "binary.json")


def test_paths_start_at_the_table(tmp_path):
    table = QueryTable([], {"checkpoint": "ckpt/a.pyth", "odd": 3})
    with pytest.raises(InputError, match="load it from one"):
        table.path_of("checkpoint")
    table.save_json(tmp_path / "t.json")
    loaded = QueryTable.load_json(tmp_path / "t.json")
    assert loaded.path_of("checkpoint") == tmp_path / "ckpt/a.pyth"
    assert loaded.path_of("statistics") is None
    with pytest.raises(InputError, match="'odd'"):
        loaded.path_of("odd")


def test_csv(tmp_path):
    first = replace(
        row("1x8x160", 900, 80.0, 9.5),
        clip_top1=71.5,
        clip_top5=90.0,
        macs_per_video=27000,
        batch_ms=20.5,
    )
    table = QueryTable([first, row("0.5x8x160", 950, 70.0)])
    table.save_csv(tmp_path / "t.csv")
    with open(tmp_path / "t.csv", newline="") as file:
        first, second = csv.DictReader(file)
    assert first == {
        "subnet": "1x8x160",
        "width": "1",
        "frames": "8",
        "size": "160",
        "macs": "900",
        "params": "10",
        "top1": "80.0",
        "top5": "80.0",
        "latency_ms": "9.5",
        "pareto": "1",
        "clip_top1": "71.5",
        "clip_top5": "90.0",
        "macs_per_video": "27000",
        "latency_p90_ms": "",
        "batch_ms": "20.5",
        "batch_p90_ms": "",
    }
    assert (second["latency_ms"], second["pareto"], second["macs_per_video"]) == ("", "0", "")


def test_tables_from_before_clip_accuracy_still_load(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps(content()))
    (old,) = QueryTable.load_json(path)
    assert (old.top1, old.clip_top1, old.macs_per_video) == (50.0, None, None)
    QueryTable([replace(old, clip_top1=40.0, macs_per_video=150)]).save_json(path)
    (new,) = QueryTable.load_json(path)
    assert (new.clip_top1, new.macs_per_video) == (40.0, 150)


def test_text_is_aligned_and_marks_the_front():
    rows = [
        row("1x16x224", 4_730_000_000, 75.08, 606.0),
        row("0.63x8x224", 1_000_000_000, 60.0, 99.0),
        row("0.63x6x112", 350_000_000, 66.15, 9.9),
    ]
    lines = QueryTable(rows).to_text().splitlines()
    assert [line.split() for line in lines[2:5]] == [
        ["*", "0.63x6x112", "350M", "10", "66.15", "66.15", "9.9"],
        ["0.63x8x224", "1.00G", "10", "60.00", "60.00", "99.0"],
        ["*", "1x16x224", "4.73G", "10", "75.08", "75.08", "606.0"],
    ]
    assert len({len(line) for line in lines[:5]}) == 1
    costs_only = QueryTable([row("1x16x224", 5)]).to_text()
    assert "*" not in costs_only and costs_only.splitlines()[-1].split()[-1] == "-"


def test_a_table_of_version_1_is_read(tmp_path):
    path = tmp_path / "table.json"
    path.write_text(json.dumps(content(version=1)))
    (read,) = QueryTable.load_json(path)
    assert (read.top1, read.latency_p90_ms, read.batch_ms) == (50.0, None, None)


def valid(text):
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(query_table_schema())
    validator.check_schema(query_table_schema())
    return validator.is_valid(json.loads(text))


@pytest.mark.parametrize("accuracy", [True, False])
def test_saved_tables_follow_the_schema(random_table, tmp_path, accuracy):
    table = random_table(5, accuracy)
    images = Row(Subnet(0.25, None, 128), 5, 6, batch_p90_ms=3.5)
    QueryTable([*table.rows, images]).save_json(tmp_path / "t.json")
    assert valid((tmp_path / "t.json").read_text())


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"version": 99},
        {"metadata": []},
        {"rows": {}},
        {"rows": [7]},
        {"rows": [{**GOOD, "top_1": 3}]},
        {"rows": [{"subnet": "1x8x160", "macs": 5}]},
        {"rows": [{**GOOD, "subnet": "wide"}]},
        {"rows": [{**GOOD, "macs": "5"}]},
        {"rows": [{**GOOD, "top1": 101}]},
        {"rows": [{**GOOD, "latency_ms": -1}]},
    ],
)
def test_the_schema_and_loading_refuse_the_same(tmp_path, change):
    assert valid(json.dumps(content()))
    path = tmp_path / "table.json"
    path.write_text(json.dumps(content(**change)))
    assert not valid(path.read_text())
    with pytest.raises(InputError):
        QueryTable.load_json(path)


def test_markdown(tmp_path):
    table = QueryTable([row("1x8x160", 900, 80.0, 9.5), row("0.5x8x160", 950, 70.0)])
    table.save_markdown(tmp_path / "t.md")
    head, rule, first, second, *_ = (tmp_path / "t.md").read_text().splitlines()
    assert head == "| sub-network | MACs | params | top-1 % | top-5 % | ms/clip |"
    assert rule.count("---") == 6 and rule.count("---:") == 5
    assert first == "| **1x8x160** | **900** | **10** | **80.00** | **80.00** | **9.5** |"
    assert second == "| 0.5x8x160 | 950 | 10 | 70.00 | 70.00 | - |"


def test_text_has_columns_for_what_was_measured():
    plain = QueryTable([Row(Subnet(1, 8, 160), 900, 10, latency_ms=2.0)]).to_text()
    assert "p90" not in plain and "batch" not in plain
    full = Row(Subnet(1, 8, 160), 900, 10, latency_ms=2.0, latency_p90_ms=2.5, batch_ms=7.25)
    head, _, line = QueryTable([full]).to_text().splitlines()
    assert head.split()[-3:] == ["ms/clip", "p90", "ms/batch"]
    assert line.split()[-3:] == ["2.0", "2.5", "7.2"]
