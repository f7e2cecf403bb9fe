"""Several sources at once: a film and a CSV of each, under one budget."""

import csv
from dataclasses import replace

import pytest

from mutualvideo.budget import Budget
from mutualvideo.commands.command_line import main
from mutualvideo.errors import InputError
from mutualvideo.media import VideoReader
from mutualvideo.play.capture import open_source
from mutualvideo.play.together import play_together
from mutualvideo.policy.budget_script import BudgetScript
from mutualvideo.runtime import AdaptiveRecognizer
from mutualvideo.table.continual_table import ContinualTable
from tests.runtime.conftest import FULL
from tests.runtime.test_continual_recognizer import run_with_rows  # noqa: F401


@pytest.fixture(scope="module")
def timed_run(run_with_rows, tmp_path_factory):  # noqa: F811
    """The run with latencies in its continual rows."""
    checkpoint, path = run_with_rows
    rows = path.parent / "rows.json"
    table = ContinualTable.load_json(rows)
    timed = [replace(row, latency_ms=1.0) for row in table]
    ContinualTable(timed, table.metadata).save_json(rows)
    yield checkpoint, path
    table.save_json(rows)


def all_for(budget):
    return BudgetScript([(0.0, Budget.parse(budget))])


def test_a_film_and_a_csv_of_each(timed_run, write_video, tmp_path):
    """Recordings play at their own pace; every instant was answered or counted."""
    recognizer = AdaptiveRecognizer(*timed_run, mode="continual")
    lengths = {"gate": 16, "hall": 9}
    videos = [write_video(f"{name}.mp4", frames=frames) for name, frames in lengths.items()]
    with open_source(videos[0]) as gate, open_source(videos[1]) as hall:
        played = play_together(recognizer, [gate, hall], all_for("1T/s"), tmp_path / "out")
    assert list(played) == list(lengths)
    for name, one in played.items():
        with open(one.csv, newline="") as file:
            lines = list(csv.DictReader(file))
        assert {line["subnet"] for line in lines} == {str(FULL)}
        times = [float(line["time_s"]) for line in lines]
        assert times == sorted(times) and one.problem is None
        (part,) = one.parts
        instants = int((lengths[name] - 1) / 30 / recognizer.frames.frame_s + 1e-6) + 1
        assert len(lines) == part.clips and part.clips + one.dropped == instants
        with VideoReader(one.mp4) as film:
            assert len(film.timestamps) == one.frames <= lengths[name]


def test_from_the_command_line(timed_run, write_video, tmp_path, capsys):
    videos = [str(write_video(f"{name}.mp4", frames=4)) for name in ("gate", "hall")]
    sources = ["--source", videos[0], "--source", videos[1]]
    asked = ["demo", "--checkpoint", str(timed_run[0]), "--table", str(timed_run[1])]
    output = ["--output", str(tmp_path / "out")]
    assert main([*asked, *sources, *output, "--continual", "--budget", "1T/s"]) in (0, None)
    assert capsys.readouterr().out.count("wrote") == 2
    # Without a budget it is what the dearest row costs.
    alone = [*asked, *sources[:2], "--output", str(tmp_path / "one"), "--continual"]
    assert main(alone) in (0, None)
    rows = ContinualTable.load_json(timed_run[1].parent / "rows.json")
    dearest = max(row.cost("macs_per_s") for row in rows)
    assert str(Budget("macs_per_s", dearest)) in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{name}.{ending}" for name in ("gate", "hall") for ending in ("mp4", "csv")
    }
    with pytest.raises(InputError, match="several go with --continual"):
        main([*asked, *sources, *output])


def test_what_is_refused_and_what_is_left(timed_run, write_video, tmp_path):
    recognizer = AdaptiveRecognizer(*timed_run, mode="continual")
    video = write_video("gate.mp4", frames=4)
    with open_source(video) as one, open_source(video) as other:
        with pytest.raises(InputError, match="source gate: there are two of that name"):
            play_together(recognizer, [one, other], all_for("1T/s"), tmp_path / "out")
        with pytest.raises(InputError, match="even with the cheapest row"):
            play_together(recognizer, [one], all_for("1/s"), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
