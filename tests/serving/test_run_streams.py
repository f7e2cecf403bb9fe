"""Several sources at once: frame by frame, and what the two forms refuse of each other."""

import threading

import pytest

from mutualvideo.errors import InputError
from mutualvideo.policy.stream_plan import Stream
from mutualvideo.serving.run_streams import run_streams
from mutualvideo.serving.service import Service
from mutualvideo.serving.stream_server import StreamServer
from tests.runtime.test_continual_recognizer import run_with_rows  # noqa: F401
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


def test_seconds_and_nothing_at_all(timed):  # noqa: F811
    found = run_streams(timed, [("gate", Source(300))], seconds=1.0)["gate"]
    due = int(29 / 30 / timed.frames.frame_s + 1e-6) + 1
    assert found.answered + found.dropped == due
    with pytest.raises(InputError, match="gate: gone"):
        run_streams(timed, [("gate", Source(0, InputError("gate: gone")))])


def test_each_form_says_what_it_takes(timed, run_dir):  # noqa: F811
    with pytest.raises(InputError, match="pairs of names"):
        run_streams(timed, [(Stream("gate", 2), Source(9))])
    with pytest.raises(InputError, match="takes frames .*FrameServer"):
        StreamServer(timed, [Stream("gate", 2)])
    with pytest.raises(InputError, match='takes frames .*mode="clip"'):
        Service(timed)
