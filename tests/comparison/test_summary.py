"""What is said of records, against means and differences worked out by hand."""

import base64
import dataclasses
import json

import numpy as np
import pytest

from mutualvideo.comparison import plots
from mutualvideo.comparison.plan import Plan, Run
from mutualvideo.comparison.plots import plot, plot_training
from mutualvideo.comparison.records import Record, load_records, save_records
from mutualvideo.comparison.report import json_line, markdown
from mutualvideo.comparison.summary import Summary
from mutualvideo.errors import InputError

MACS = {"1x32": 4000, "0.5x32": 1000, "0.5x20": 400}
# Which of four test pictures are right: {(arm, seed): {row: ...}}.
RIGHT = {
    ("mutual", 0): {"1x32": "1111", "0.5x32": "1110", "0.5x20": "1100"},
    ("mutual", 1): {"1x32": "1110", "0.5x32": "1110", "0.5x20": "1000"},
    ("single", 0): {"1x32": "1100"},
    ("single", 1): {"1x32": "1110"},
    ("alone", 0): {"0.5x32": "1100", "0.5x20": "1100"},
    ("alone", 1): {"0.5x32": "0110", "0.5x20": "0000"},
}


def record(arm, seed, row, right, manifest="m"):
    bits = np.array([int(bit) for bit in right], dtype=bool)
    packed = base64.b64encode(np.packbits(bits)).decode()
    alone = row if arm == "alone" else ""
    fields = arm, seed, -1, alone, row, MACS[row], 10, 100 * bits.mean(), len(bits), 10, manifest
    return Record(*fields, 5, 300 if arm == "mutual" else 100, 2.0, 1.0, packed)


RECORDS = [record(*key, row, right) for key, rows in RIGHT.items() for row, right in rows.items()]
RUNS = tuple(Run(one.arm, one.seed, None, one.alone or None, "", ()) for one in RECORDS)
PAIRS = (("mutual", "single"), ("mutual", "alone"))
PLAN = Plan(
    "plan.yaml", "base.yaml", (), ("single", "alone", "mutual"), {"alone": {"1x32": "single"}},
    {}, PAIRS, ("single", "alone", "mutual"), {}, RUNS, frozenset(),
)  # fmt: skip


def test_accuracies_and_differences():
    summary = Summary(PLAN, RECORDS)
    assert summary.macs == MACS
    assert summary.chance == 10
    assert summary.accuracy("mutual", "1x32").mean == pytest.approx(87.5)
    assert summary.accuracy("single", "0.5x32") is None
    found = summary.difference("mutual", "alone")
    means = {row: one.mean for row, one in found.rows.items()}
    assert means == pytest.approx({"1x32": 25, "0.5x32": 25, "0.5x20": 12.5})
    assert found.mean.mean == pytest.approx(np.mean([25, 25, 12.5]))
    assert found.mean.runs == 2
    for one in found.rows.values():
        assert one.low <= one.mean <= one.high
    assert summary.difference("single", "alone").rows.keys() == {"1x32"}


def test_budget_by_budget():
    found = Summary(PLAN, RECORDS).difference("mutual", "single").budgets
    assert [(macs, mine, theirs) for macs, mine, theirs, _ in found] == [(4000, "1x32", "1x32")]
    found = Summary(PLAN, RECORDS).difference("mutual", "alone").budgets
    assert [(macs, mine, theirs) for macs, mine, theirs, _ in found] == [
        (4000, "1x32", "1x32"), (1000, "0.5x32", "0.5x32"), (400, "0.5x20", "0.5x20"),
    ]  # fmt: skip


def test_cost_of_networks_trained_alone_is_their_sum():
    summary = Summary(PLAN, RECORDS)
    assert summary.costs("mutual")["macs"] == 300
    # Two of its own, and the one that another arm trained.
    assert summary.costs("alone")["macs"] == 300
    assert summary.costs("alone")["cpu_seconds"] == 6


def test_a_seed_that_is_not_trained_to_the_end_does_not_make_an_arm_cheaper():
    there = [one for one in RECORDS if (one.arm, one.seed, one.row) != ("alone", 1, "0.5x20")]
    assert Summary(PLAN, there).costs("alone") == Summary(PLAN, RECORDS).costs("alone")


def test_budgets_of_networks_that_differ_go_by_what_each_costs(monkeypatch):
    """A small network's whole width is cheaper than half of a large one's."""
    costs = {("large", "1x32"): 1000, ("large", "0.5x32"): 300}
    costs |= {("small", "1x32"): 100, ("small", "0.5x32"): 40}
    right = {1000: "1111", 300: "1110", 100: "1100", 40: "1000"}
    records = [
        dataclasses.replace(record("single", 0, row, right[macs]), arm=arm, macs=macs)
        for (arm, row), macs in costs.items()
    ]
    runs = tuple(Run(arm, 0, None, None, "", ()) for arm in ("small", "large"))
    plan = dataclasses.replace(
        PLAN, arms=("small", "large"), same={}, plotted=("small", "large"), runs=runs
    )
    summary = Summary(plan, records)
    found = summary.difference("large", "small").budgets
    assert [(macs, mine, theirs, one.mean) for macs, mine, theirs, one in found] == [
        (1000, "1x32", "1x32", 50), (300, "0.5x32", "1x32", 25),
    ]  # fmt: skip
    assert "| 1x32 | 100 to 1.00K | 50.0" in markdown(summary, [])
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, *_, **__: figures.append(figure))
    plot(summary, "plot.png")
    (axes,) = figures[0].axes
    drawn = [list(line.get_xdata()) for line in axes.lines]
    assert [40, 100] in drawn and [300, 1000] in drawn


def test_folds_of_one_list_are_refused():
    folds = [dataclasses.replace(one, fold=fold) for one in RECORDS for fold in (0, 1)]
    runs = tuple(Run(r.arm, r.seed, fold, r.alone, "", ()) for r in RUNS for fold in (0, 1))
    plan = dataclasses.replace(PLAN, runs=runs)
    apart = [dataclasses.replace(one, manifest=f"list {one.fold}") for one in folds]
    assert Summary(plan, apart).accuracy("mutual", "1x32").runs == 4
    with pytest.raises(InputError, match="folds were tested on the same list"):
        Summary(plan, folds)


def test_runs_that_the_plan_does_not_have_are_left_out():
    of_seed_0 = [run for run in RUNS if run.seed == 0]
    short = dataclasses.replace(PLAN, runs=tuple(of_seed_0))
    assert Summary(short, RECORDS).accuracy("mutual", "1x32").runs == 1
    gone = dataclasses.replace(short, runs=(), gone={"mutual": "a key"})
    assert Summary(gone, RECORDS).arms == ["mutual"]


def test_runs_that_end_when_they_get_no_better_may_differ_in_epochs():
    found = [dataclasses.replace(one, epochs=9 if one.seed else 5) for one in RECORDS]
    patient = frozenset(one.arm for one in RECORDS)
    plan = dataclasses.replace(PLAN, patient=patient)
    assert Summary(plan, found).costs("single")["epochs"] == 9


def test_seeds_of_other_numbers_of_epochs_are_refused():
    found = [dataclasses.replace(one, epochs=9 if one.seed else 5) for one in RECORDS]
    with pytest.raises(InputError, match=r"trained for other numbers of epochs: 5 \(seed 0\), 9"):
        Summary(PLAN, found)


def test_rows_without_a_run_in_common_have_no_mean():
    apart = [
        one
        for one in RECORDS
        if (one.row, one.seed) in (("1x32", 0), ("0.5x32", 1)) or one.arm == "mutual"
    ]
    summary = Summary(PLAN, apart)
    found = summary.difference("mutual", "alone")
    assert found.mean is None and found.rows.keys() == {"1x32", "0.5x32"}
    assert "mean of these rows" in markdown(summary, [found])
    content = json.loads(json_line(found).removeprefix("json_compare: "))
    assert (content["mean"], content["runs"]) == (None, 0)


def test_other_lists_are_refused():
    odd = record("single", 1, "1x32", "1111", manifest="other")
    with pytest.raises(InputError, match="another list"):
        Summary(PLAN, [*RECORDS[:3], odd])
    with pytest.raises(InputError, match="no finished run"):
        Summary(PLAN, [])


def test_records_survive_the_csv(tmp_path):
    save_records(RECORDS, tmp_path / "runs.csv")
    found = load_records(tmp_path / "runs.csv")
    assert found == RECORDS
    assert found[0].answers().tolist() == [True] * 4
    # Files from before detectors' AP50 was noted.
    text = (tmp_path / "runs.csv").read_text().replace(",ap50\n", "\n").replace(",\n", "\n")
    (tmp_path / "runs.csv").write_text(text)
    assert load_records(tmp_path / "runs.csv") == RECORDS
    assert "AP50" not in markdown(Summary(PLAN, RECORDS), [])
    (tmp_path / "runs.csv").write_text("arm,seed\na,b\n")
    with pytest.raises(InputError, match="cannot be read as the results of a comparison"):
        load_records(tmp_path / "runs.csv")


def test_report(tmp_path):
    summary = Summary(PLAN, RECORDS)
    differences = [summary.difference(*pair) for pair in PAIRS]
    text = markdown(summary, differences)
    assert "| 1x32 | 4.00K | 62.5 ±" in text
    assert "+25.0" in text
    line = json_line(differences[1])
    assert line.startswith("json_compare: ")
    content = json.loads(line.removeprefix("json_compare: "))
    assert (content["arm"], content["against"], content["runs"]) == ("mutual", "alone", 2)
    assert content["full"] == content["rows"]["1x32"]
    assert content["rows"]["0.5x20"]["difference"] == 12.5
    plot(summary, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    "plotted, shown",
    [
        (("single", "alone", "mutual"), ["single", "alone", "mutual"]),
        (("mutual", "alone"), ["alone", "mutual"]),
        (("later",), ["single", "alone", "mutual"]),
    ],
)
def test_arms_in_the_plot(monkeypatch, plotted, shown):
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, *_, **__: figures.append(figure))
    plot(Summary(dataclasses.replace(PLAN, plotted=plotted), RECORDS), "plot.png")
    (axes,) = figures[0].axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["chance", *shown]


def test_accuracy_against_training(monkeypatch):
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, *_, **__: figures.append(figure))
    longer = [
        dataclasses.replace(one, arm="longer", train_macs=1000, top1=one.top1 + 2, epochs=9)
        for one in RECORDS
        if one.arm == "mutual"
    ]
    runs = (*RUNS, *(Run(one.arm, one.seed, None, None, "", ()) for one in longer))
    curves = {"alone": ("single",), "one network": ("longer", "mutual", "single")}
    arms = (*PLAN.arms, "longer")
    plan = dataclasses.replace(PLAN, arms=arms, curves=curves, runs=runs)
    plot_training(Summary(plan, [*RECORDS, *longer]), "training.png")
    (axes,) = figures[0].axes
    lines = {line.get_label(): line for line in axes.lines}
    # By cost; single has no other row, so that the mean over rows leaves it out.
    assert lines["one network"].get_xydata().tolist() == [[100, 62.5], [300, 87.5], [1000, 89.5]]
    mean = np.mean([100, 75, 50, 75, 75, 25])
    means = lines["one network, mean of rows"].get_xydata()
    assert means == pytest.approx(np.array([[300, mean], [1000, mean + 2]]))
    assert lines["alone"].get_xydata().tolist() == [[100, 62.5]]
    assert "alone, mean of rows" not in lines


def test_of_detectors_seeds_are_paired_for_no_picture_is_right_by_itself(tmp_path):
    found = {"mutual": (50.0, 60.0, 58.0), "single": (40.0, 52.0, 46.0)}
    records = [
        Record(arm, seed, -1, "", "1x96", 10, 5, ap, 200, 7, "m", 3, 100, 2.0, 1.0, "", ap + 30)
        for arm, values in found.items()
        for seed, ap in enumerate(values)
    ]
    save_records(records, tmp_path / "runs.csv")
    records = load_records(tmp_path / "runs.csv")
    runs = tuple(Run(one.arm, one.seed, None, None, "", ()) for one in records)
    summary = Summary(dataclasses.replace(PLAN, runs=runs), records)
    assert summary.measure == "box AP" and summary.chance is None
    difference = summary.difference("mutual", "single").rows["1x96"]
    # 10, 8, 12: Student's t with 2 degrees of freedom.
    half = 4.302653 * 2 / 3**0.5
    assert difference.mean == pytest.approx(10) and difference.runs == 3
    assert difference.high - difference.mean == pytest.approx(half, rel=1e-3)
    text = markdown(summary, [summary.difference("mutual", "single")])
    assert text.startswith("Box AP in percent, mean and 95 % interval over runs.\n")
    assert summary.ap50("single", "1x96").mean == pytest.approx(76)
    assert "| 1x96 | 10 | 76.0 ± 14.9 | 86.0 ± 13.1 |" in text.split("AP50 in percent")[1]
    plot(summary, tmp_path / "plot.png")
    one = Summary(PLAN, [record for record in records if record.seed == 0])
    assert np.isnan(one.accuracy("mutual", "1x96").low)
