"""What new users of demo, check, table, compare, benchmark and the toy videos stumbled over."""

import csv
import io
import os
import sys

import numpy as np
import pytest
from PIL import Image

from mutualvideo import AdaptiveRecognizer, InputError
from mutualvideo.benchmark.remarks import remark, remarks_to
from mutualvideo.commands.command_line import main
from mutualvideo.commands.silence import quietly
from mutualvideo.data.annotations import read_annotations
from mutualvideo.data.prepare import toy
from mutualvideo.play.player import Part
from mutualvideo.runtime import Prediction
from mutualvideo.subnet import Subnet
from tests.data.videos import encode
from tests.play.fakes import write_numbered
from tests.runtime.conftest import (  # noqa: F401  (fixtures)
    one_thread,
    run_dir,
    tiny_cfg,
    write_video,
)


def call(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize("name", ["none", "deep/none.pyth"])
def test_a_run_that_is_not_there(tmp_path, name):
    missing = tmp_path / name
    with pytest.raises(InputError, match=f"{name}: no such f") as caught:
        AdaptiveRecognizer(missing)
    assert "OUTPUT_DIR" in str(caught.value)
    with pytest.raises(InputError, match="OUTPUT_DIR of a run"):
        call("demo", "--run", missing, "--source", "a.mp4")


def test_pictures_for_a_network_of_video(run_dir, tmp_path):  # noqa: F811
    path = tmp_path / "photo.png"
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(path)
    with pytest.raises(InputError, match="takes video, not pictures: play it with --source"):
        call("demo", "--run", run_dir, "--image", path)


def test_a_folder_gives_one_csv_and_no_budget_is_that_of_the_full_network(
    run_dir,  # noqa: F811
    tmp_path,
    capsys,
):
    (tmp_path / "in").mkdir()
    for name in ("a", "all_videos"):
        write_numbered(tmp_path / "in" / f"{name}.mp4", [number / 30 for number in range(24)])
    call("demo", "--run", run_dir, "--source", tmp_path / "in", "--output", tmp_path / "out")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"wrote {tmp_path / 'out' / 'all_videos_.csv'}: all 2 videos"
    whole = list(csv.reader(open(tmp_path / "out" / "all_videos_.csv", newline="")))
    parts = []
    for name in ("a", "all_videos"):
        with open(tmp_path / "out" / f"{name}.csv", newline="") as file:
            head, *rows = csv.reader(file)
        parts += [[name, *row] for row in rows]
    assert whole == [["video", *head], *parts] and len(parts) >= 2
    full = AdaptiveRecognizer(run_dir).table.full()
    assert {row[2] for row in parts} == {str(full.subnet)} == {"1x6x40"}


def test_the_first_answer_after_a_switch_does_not_count():
    part, scores = Part("1G"), np.array([[1.0, 0.0]], np.float32)

    def add(ms, switched):
        subnet = Subnet(1, 6, 40)
        part.add(Prediction(scores, ("a",), subnet, 10, ms, ms, ("a", "b")), switched)

    add(37.0, True)
    assert part.summary().latency_ms == 37.0  # there is no other
    add(6.0, False)
    add(8.0, False)
    assert part.summary().latency_ms == 7.0 and part.summary().clips == 3


def test_toy_classes_are_no_verdicts(tmp_path, capsys):
    assert toy.CLASSES[toy.MOTIONS.index("right")] == "moves right"
    assert len(set(toy.CLASSES)) == len(toy.MOTIONS) == len(toy.CLASSES)
    assert not {"right", "left"} & set(toy.CLASSES)
    for motions in ("right,grow", "moves right,grows"):
        film = tmp_path / f"{motions}.mp4"
        call("toy", "--film", film, "--motions", motions, "--motion-seconds", "0.1")
    old, new = (path.read_bytes() for path in sorted(tmp_path.glob("*.mp4")))
    assert old == new
    with pytest.raises(InputError, match="'sideways' is none of left, right"):
        call("toy", "--film", tmp_path / "c.mp4", "--motions", "sideways")


def test_what_check_writes_is_read(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    encode(tmp_path / "in/a.mp4", range(0, 30, 3))
    (tmp_path / "in/train.csv").write_text("a.mp4 0\n")
    given = "check", "--csv", tmp_path / "in/train.csv", "--output", tmp_path / "out"
    assert call(*given, "--workers", "1") == 0
    train, good = capsys.readouterr().out.splitlines()
    assert good == "1 of 1 videos are good"
    # Training looks for train.csv in the folder, and for its videos where the line says.
    words = train.removeprefix("train with ").split()
    keys = dict(zip(words[::2], words[1::2], strict=True))
    path = os.path.join(keys["DATA.PATH_TO_DATA_DIR"], "train.csv")
    (video,) = read_annotations(path, " ", keys["DATA.PATH_PREFIX"])
    assert os.path.samefile(video.path, tmp_path / "in/a.mp4")
    (tmp_path / "in/a.mp4").write_text("not a video")
    assert call(*given, "--workers", "1") == 1
    assert capsys.readouterr().out.splitlines() == [
        f"0 of 1 videos are good; 1 bad: see {tmp_path / 'out'}/bad.csv"
    ]


def test_costs_are_printed_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = "TABLE.WIDTHS", "[1.0]", "TABLE.FRAMES", "[8]", "TABLE.SIZES", "[32]"
    call("table", "--cfg", "Toy/X3D_mutual", *small)
    assert "1x8x32" in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_runs_that_are_not_there(tmp_path):
    (tmp_path / "plan.yaml").write_text("BASE: Toy/X3D_mutual\nARMS: {mutual: {}}\n")
    plan = tmp_path / "plan.yaml"
    with pytest.raises(InputError, match="--runs nope: no such folder"):
        call("compare", plan, "--report", "--runs", "nope")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="there is no finished run to report"):
        call("compare", plan, "--report", "--runs", tmp_path / "empty")
    with pytest.raises(InputError, match="plan.yaml: cannot be made a folder"):
        call("compare", plan, "--runs", plan)
    assert [path.name for path in tmp_path.glob("*.csv")] == []


def test_what_is_measured_says_nothing(capfd):
    with quietly():
        print("noise")
        os.write(2, b"more of it\n")
    print("after")
    sys.stdout.flush()
    assert capfd.readouterr() == ("after\n", "")
    with pytest.raises(ZeroDivisionError), quietly():
        print("what led to it")
        raise ZeroDivisionError
    assert capfd.readouterr().err == "what led to it\n"


@pytest.mark.parametrize("descriptor", [True, False], ids=["descriptor 1", "none of its own"])
def test_what_a_measurement_says_is_seen(descriptor, monkeypatch, capfd):
    """As in a terminal, where standard output is descriptor 1, and in a notebook."""
    text = io.StringIO()
    with open(1, "w", closefd=False) as one:
        monkeypatch.setattr(sys, "stdout", one if descriptor else text)
        with quietly() as aloud, remarks_to(aloud):
            print("noise")
            remark("left out: a backend")
        remark("after")
        monkeypatch.undo()
    assert text.getvalue() + capfd.readouterr().out == "left out: a backend\nafter\n"
