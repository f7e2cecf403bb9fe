"""Several sources at once: frame by frame, and what the two forms refuse of each other."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from mutualvideo.budget import Budget
from mutualvideo.errors import InputError
from mutualvideo.policy.budget_script import BudgetScript
from mutualvideo.policy.stream_plan import Stream
from mutualvideo.runtime import AdaptiveRecognizer
from mutualvideo.serving.run_streams import _ClipReader, run_streams
from mutualvideo.serving.service import Service
from mutualvideo.serving.stream_server import StreamServer
from tests.play.fakes import data
from tests.runtime.conftest import FULL
from tests.runtime.test_continual_recognizer import FEW, run_with_rows  # noqa: F401
from tests.serving.test_frame_server import timed  # noqa: F401
from tests.serving.test_stream_server import Source


def test_frames_of_several_sources(timed):  # noqa: F811
    """Every instant of each is answered or counted; a source that is lost ends alone."""
    sources = {"gate": 60, "hall": 31, "yard": 20}
    lost = InputError("yard: lost")
    streams = [(name, Source(n, lost if name == "yard" else None)) for name, n in sources.items()]
    answers = {name: [] for name in sources}
    found = run_streams(timed, streams, lambda name, answer: answers[name].append(answer))
    frame_s = timed.frames.frame_s
    for name, count in sources.items():
        summary, due = found[name], int((count - 1) / 30 / frame_s + 1e-6) + 1
        assert summary.answered == len(answers[name]) == sum(summary.subnets.values())
        assert summary.answered + summary.dropped == due and summary.answered > 0
        assert summary.late == sum(answer.late for answer in answers[name])
        assert summary.problem == ("yard: lost" if name == "yard" else None)
    assert not [t for t in threading.enumerate() if t.name.startswith("stream")]


@pytest.mark.parametrize(
    ("fps", "rate", "apart"), [(30, 30, 1), (30, 15, 2), (30, 10, 3), (24, 24, 1), (25, 10, 3)]
)
def test_clips_come_at_the_rate_that_frames_allow(fps, rate, apart):
    server, source = SimpleNamespace(submitted=[]), Source(20 * fps)
    server.submit = lambda name, clip: server.submitted.append(clip)
    source.fps, section = fps, data(2, 1, fps)
    reader = _ClipReader(server, Stream("a", rate), source, None, threading.Event(), None, section)
    for number in range(20 * fps):
        frame = np.full((40, 40, 3), number % 250, np.uint8)
        reader._see(number / fps, frame)
        reader._take(number / fps, frame)
    last = [int(clip[-1, 0, 0, 0]) for clip in server.submitted]
    assert last == [number % 250 for number in range(1, 20 * fps, apart)]


def test_seconds_and_nothing_at_all(timed):  # noqa: F811
    found = run_streams(timed, [("gate", Source(300))], seconds=1.0)["gate"]
    due = int(29 / 30 / timed.frames.frame_s + 1e-6) + 1
    assert found.answered + found.dropped == due
    with pytest.raises(InputError, match="gate: gone"):
        run_streams(timed, [("gate", Source(0, InputError("gate: gone")))])


def test_one_budget_that_changes_and_every_frame_is_shown(timed):  # noqa: F811
    """From 0.5 s on it pays for the cheapest rows alone; an unknown future is refused at once."""
    cheap = 2 * min(row.cost("macs_per_s") for row in timed.frames.rows)
    script = BudgetScript([(0.0, Budget.parse("1T/s")), (0.5, Budget("macs_per_s", cheap))])
    shown = {"gate": [], "hall": []}
    subnets = {name: [] for name in shown}
    latest, changed = dict.fromkeys(shown, -1.0), threading.Condition()

    def answered(name, answer):
        subnets[name].append((answer.time_s, answer.subnet))
        with changed:
            latest[name] = answer.time_s
            changed.notify_all()

    def see(name, time_s, frame):
        """Holds the source back until its frame was answered."""
        shown[name].append(time_s)
        with changed:
            due = time_s - timed.frames.frame_s + 1e-6
            changed.wait_for(lambda: latest[name] > due, 60)

    streams = [(name, Source(90)) for name in shown]
    found = run_streams(timed, streams, answered, budget=script, shown=see)
    due = int(89 / 30 / timed.frames.frame_s + 1e-6) + 1
    for name, summary in found.items():
        assert shown[name] == [n / 30 for n in range(90)]
        assert summary.answered == due and not summary.dropped
        assert all(subnet == FULL for time_s, subnet in subnets[name] if time_s < 0.5)
        assert summary.subnets[FULL] + summary.subnets[FEW] == due and subnets[name][-1][1] == FEW
    short = BudgetScript([(0.0, Budget.parse("1T/s")), (0.5, Budget.parse("10/s"))])
    with pytest.raises(InputError, match="even with the cheapest row"):
        run_streams(timed, [("gate", Source(9))], budget=short)


def test_each_form_says_what_it_takes(timed, run_dir):  # noqa: F811
    with pytest.raises(InputError, match="pairs of names"):
        run_streams(timed, [(Stream("gate", 2), Source(9))])
    with pytest.raises(InputError, match="takes frames .*FrameServer"):
        StreamServer(timed, [Stream("gate", 2)])
    with pytest.raises(InputError, match="budget: clips of several sources"):
        run_streams(AdaptiveRecognizer(run_dir), [(Stream("gate", 2), Source(9))], budget="1G/s")
    with pytest.raises(InputError, match='takes frames .*mode="clip"'):
        Service(timed)
