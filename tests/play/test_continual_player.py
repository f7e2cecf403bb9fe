"""Sources played in continual form."""

import csv

import av
import pytest

from mutualvideo.budget import Budget
from mutualvideo.errors import InputError
from mutualvideo.play.capture import open_source
from mutualvideo.play.continual_player import play_frames
from mutualvideo.play.playlist import play_all
from mutualvideo.policy.budget_script import BudgetScript
from mutualvideo.runtime import AdaptiveRecognizer
from tests.runtime.conftest import FULL
from tests.runtime.test_continual_recognizer import APART_S, NARROW, run_with_rows  # noqa: F401


@pytest.fixture(scope="module")
def recognizer(run_with_rows):  # noqa: F811
    return AdaptiveRecognizer(*run_with_rows, mode="continual", filling="at once")


def test_every_frame_once_and_the_budget_holds(recognizer, write_video, tmp_path):
    """Half a second at 30 frames a second are seven of those that clips take."""
    video = write_video("stream.mp4", frames=16)
    rows = recognizer.frames.rows
    budgets = [Budget("macs_per_s", rows[s].cost("macs_per_s")) for s in (FULL, NARROW)]
    script = BudgetScript([(0.0, budgets[0]), (0.3, budgets[1])])
    with open_source(video) as source:
        played = play_frames(recognizer, source, script, tmp_path)
    assert (played.frames, played.dropped) == (16, 0)
    with open(played.csv, newline="") as file:
        lines = list(csv.DictReader(file))
    assert [round(float(line["time_s"]) / APART_S, 1) for line in lines] == list(range(7))
    wanted = [FULL] * 5 + [NARROW] * 2
    assert [line["subnet"] for line in lines] == list(map(str, wanted))
    assert all(int(line["warming_up"]) > 0 for line in lines[:5])
    assert sum(int(line["macs"]) for line in lines[:5]) == 5 * rows[FULL].macs
    assert [part.clips for part in played.parts] == [5, 2]
    assert played.mp4.stat().st_size > 0


def test_answers_further_apart(recognizer, write_video, tmp_path):
    video = write_video("stream.mp4", frames=16)
    (found,) = play_all(recognizer, video, tmp_path, [Budget.parse("1T/s")], stride_s=0.2)
    with open(found[1].csv, newline="") as file:
        times = [line["time_s"] for line in csv.DictReader(file)]
    assert times == ["0.000", "0.220", "0.440"]
    # What is not written was computed nevertheless.
    assert found[1].parts[0].clips == 7


def test_budgets_of_clips_are_refused(recognizer, write_video, tmp_path):
    video = write_video("stream.mp4", frames=4)
    with pytest.raises(InputError, match="multiply-adds a second"):
        list(play_all(recognizer, video, tmp_path, [Budget.parse("40ms")]))


def test_an_rtsp_camera(recognizer, write_video, tmp_path, monkeypatch):
    """Answered or counted, each of its instants; a file stands in for what FFmpeg opens."""
    path, real = str(write_video("stream.mp4", frames=16)), av.open

    def fake(address, *given, **arguments):
        return real(path if address == "rtsp://10.0.0.7/front" else address, *given, **arguments)

    monkeypatch.setattr(av, "open", fake)
    budget = [Budget.parse("1T/s")]
    with open_source("rtsp://10.0.0.7/front", reconnects=0) as source:
        assert source.live
        played = play_frames(recognizer, source, BudgetScript([(0.0, budget[0])]), tmp_path)
    assert played.frames + source.dropped == 16
    with open(played.csv, newline="") as file:
        last_s = [float(line["time_s"]) for line in csv.DictReader(file)][-1]
    answered = sum(part.clips for part in played.parts)
    instants = 1 + round(last_s / recognizer.frames.frame_s)
    assert answered + played.dropped - source.dropped == instants
