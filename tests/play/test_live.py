import threading

import pytest

from mutualvideo.errors import InputError
from mutualvideo.play import live
from mutualvideo.play.live import Live
from tests.play.fakes import number_of, numbered


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(live, "_FIRST_PAUSE_S", 0.0)


def stream(numbers, times=None):
    for number in numbers:
        yield (number / 1000 if times is None else times[number]), numbered(number)


def taken(source, seen=lambda *_: None):
    with source:
        frames = source.frames(seen, threading.Event())
        return [(time_s, number_of(frame)) for time_s, frame in frames]


def test_a_late_taker_gets_the_newest_and_the_rest_is_counted():
    go_on, read = threading.Event(), threading.Event()

    def connect():
        yield 0.0, numbered(0)
        assert go_on.wait(10)
        yield from stream(range(1, 50))
        # Back here when frame 49 has been handed over.
        read.set()
        assert last.wait(10)
        yield 0.1, numbered(50)

    last, seen = threading.Event(), []
    source = Live("cam", 30.0, connect)
    frames = source.frames(lambda _, frame: seen.append(number_of(frame)), threading.Event())
    assert number_of(next(frames)[1]) == 0
    go_on.set()
    assert read.wait(10)
    assert number_of(next(frames)[1]) == 49
    last.set()
    assert [number_of(frame) for _, frame in frames] == [50]
    assert source.dropped == 48
    assert seen == list(range(51)), "clips miss nothing"


def test_times_are_those_of_arrival_and_increase(monkeypatch):
    clock = iter([100.0, 100.5, 100.5, 102.0])
    monkeypatch.setattr(live.time, "monotonic", lambda: next(clock))
    seen = []
    # Media times are wrong by an hour; the frame at the same instant as the one before is lost.
    source = Live("cam", 30.0, lambda: stream(range(4), [3600.0, 0.0, 0.0, 1.0]))
    taken(source, lambda time_s, frame: seen.append((time_s, number_of(frame))))
    assert seen == [(0.0, 0), (0.5, 1), (2.0, 3)]


def test_paced_frames_wait_for_their_time(monkeypatch):
    waited, now = [], [0.0]

    class Over(threading.Event):
        def wait(self, timeout=None):
            waited.append(timeout)
            now[0] += timeout
            return False

    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    source = Live("cam", 30.0, lambda: stream(range(5), [5.0, 5.5, 6.0, 600.0, 600.25]), paced=True)
    times = [time_s for time_s, _ in source._timed(Over())]
    # A clock that jumps was set anew: the film goes on.
    assert times == [0.0, 0.5, 1.0, 1.25]
    assert sum(waited) == pytest.approx(1.25)


def test_the_end_and_the_stop():
    assert [number for _, number in taken(Live("cam", 30.0, lambda: stream([7])))] == [7]
    stop, reader_left = threading.Event(), threading.Event()

    def endless():
        try:
            while True:
                yield 0.0, numbered(1)
        finally:
            reader_left.set()

    for _ in Live("cam", 30.0, endless).frames(lambda *_: None, stop):
        stop.set()
    assert reader_left.wait(10)


def test_a_silent_source_can_be_stopped():
    stop, release = threading.Event(), threading.Event()

    def hangs():
        yield 0.0, numbered(1)
        release.wait(30)

    frames = Live("cam", 30.0, hangs).frames(lambda *_: None, stop)
    next(frames)
    stop.set()
    assert list(frames) == []
    release.set()


def test_lost_and_found_again():
    connections = iter([stream([1]), "broken", stream([2]), "broken", stream([3])])
    asked = []

    def connect():
        asked.append(1)
        got = next(connections, "broken")
        if got == "broken":
            raise InputError("cam: cannot be opened (no route)")
        yield from got

    seen = []
    source = Live("cam", 30.0, connect, reconnects=2)
    with pytest.raises(InputError, match=r"\(no route\): lost, after 2 attempts to reconnect"):
        taken(source, lambda _, frame: seen.append(number_of(frame)))
    # An end that is followed by one failure is forgiven, one that is followed by two is not.
    assert seen == [1, 2, 3] and len(asked) == 5 + 2


def test_a_bug_is_not_a_lost_stream():
    def connect():
        yield 0.0, numbered(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        taken(Live("cam", 30.0, connect, reconnects=5))
