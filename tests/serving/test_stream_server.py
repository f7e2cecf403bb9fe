"""Several streams on one recogniser: on a simulated clock, then with a network and videos."""

import heapq
import threading

import numpy as np
import pytest

from mutualvideo.errors import InputError
from mutualvideo.play.capture import open_source
from mutualvideo.policy.stream_plan import Stream, plan_rows
from mutualvideo.runtime import AdaptiveRecognizer
from mutualvideo.runtime.prepared import PreparationError
from mutualvideo.serving.answer import AnswerError
from mutualvideo.serving.run_streams import run_streams
from mutualvideo.serving.stream_server import StreamServer
from mutualvideo.table.query import QueryTable, Row
from tests.policy.rows import A, B, C, D
from tests.runtime.conftest import GRID
from tests.serving.fakes import FakeRecognizer, clip


def play(server, recognizer, streams, seconds, slow=lambda now_s: 1.0):
    """Clips come with the phases 0, 1/3, 2/3 of a period...; ``[(came, name, Answer), ...]``."""
    clock, log = recognizer.clock, []
    arrivals = [(n / len(streams) / s.rate, s.name, 1 / s.rate) for n, s in enumerate(streams)]
    heapq.heapify(arrivals)
    while arrivals[0][0] < seconds:
        while arrivals[0][0] <= clock.now_s:
            came_s, name, period_s = heapq.heapreplace(
                arrivals, (arrivals[0][0] + arrivals[0][2], *arrivals[0][1:])
            )
            # The clock stands still while a clip comes in, which may have been a moment ago.
            now_s, clock.now_s = clock.now_s, came_s
            server.submit(name, clip(len(log)))
            clock.now_s = now_s
        recognizer.slow = slow(clock.now_s)
        answer = server.answer()
        if answer is None:
            clock.now_s = arrivals[0][0]
        else:
            log.append((clock.now_s, *answer))
    return log


STREAMS = [Stream("gate", 10), Stream("hall", 4), Stream("yard", 2, weight=3.0)]


def test_all_deadlines_hold_with_the_rows_of_the_plan():
    recognizer = FakeRecognizer()
    server = StreamServer(recognizer, STREAMS, clock=recognizer.clock)
    best = plan_rows(recognizer.table, STREAMS).rows
    log = play(server, recognizer, STREAMS, 20)
    assert {name: sum(one == name for _, one, _ in log) for name in best} == pytest.approx(
        {"gate": 200, "hall": 80, "yard": 40}, abs=1
    )
    for _, name, answer in log:
        assert answer.subnet == answer.wanted == best[name].subnet and not answer.late
        assert answer.total_ms <= 1000 / {s.name: s.rate for s in STREAMS}[name] + 1e-6
    assert not any(server.missed.values()) and not any(server.dropped.values())
    # Not by answering as cheaply as it goes.
    assert max(row.top1 for row in best.values()) > 50


def test_a_slow_machine_is_planned_for_and_a_fast_one_again():
    recognizer = FakeRecognizer()
    server = StreamServer(recognizer, STREAMS, clock=recognizer.clock)
    before = server.plan.rows
    log = play(server, recognizer, STREAMS, 60, lambda now_s: 3.0 if 20 <= now_s < 40 else 1.0)
    assert server.plan.rows == before
    during = {name: answer.subnet for now_s, name, answer in log if 25 < now_s < 40}
    expected = plan_rows(recognizer.table, STREAMS, slowdown=3.0).rows
    assert during == {name: row.subnet for name, row in expected.items()}
    late = [now_s for now_s, _, answer in log if answer.late]
    # Two clips tell that the machine is slower, and a third may be under way.
    assert len(late) <= 6 and all(20 <= now_s < 22 for now_s in late)


def test_a_row_that_is_not_ready_is_not_waited_for():
    recognizer = FakeRecognizer(immediate=False)
    stream = Stream("one", 40)
    recognizer.let(A, C)
    server = StreamServer(recognizer, [stream], clock=recognizer.clock)
    assert server.plan.rows["one"].subnet == C
    recognizer.slow, wanted = 2.0, []
    for _ in range(6):
        server.submit("one", clip(7))
        name, answer = server.answer()
        wanted.append(answer.wanted)
        assert name == "one" and answer.labels == ("7",) and answer.subnet in (A, C)
    # B is planned for and under way, A answers.
    assert (wanted[-1], answer.subnet, answer.shed) == (B, A, True)
    recognizer.let(B)
    recognizer.executor.runners.get(B)
    server.submit("one", clip())
    assert server.answer()[1].subnet == B


def test_failures_name_the_row():
    recognizer = FakeRecognizer()
    recognizer.bad.add(D)
    with pytest.raises(PreparationError, match=f"sub-network {D}"):
        StreamServer(recognizer, [Stream("one", 10)], clock=recognizer.clock)
    recognizer.bad.clear()
    server = StreamServer(recognizer, [Stream("one", 10)], clock=recognizer.clock)
    recognizer.failing = lambda *_: True
    server.submit("one", clip())
    with pytest.raises(AnswerError, match=f"sub-network {D} failed"):
        server.answer()
    with pytest.raises(InputError, match="'two' is not scheduled"):
        server.submit("two", clip())
    with pytest.raises(InputError, match="fewer streams or lower rates"):
        StreamServer(recognizer, [Stream("one", 2000)], clock=recognizer.clock)


@pytest.fixture(scope="module")
def quick(run_dir):
    """A small network, and a table of it that promises a thousand times what it takes."""
    table = QueryTable.load_json(run_dir / "query_table.json")
    rows = [
        Row(subnet, table[subnet].macs, 1, top1, 100.0, 20.0 * 2**number)
        for number, (subnet, top1) in enumerate(GRID)
    ]
    slow = QueryTable(rows, table.metadata)
    slow.folder = run_dir
    return AdaptiveRecognizer(run_dir / "c.pyth", slow, device="cpu")


def test_videos_through_a_network(quick, write_video):
    lengths = {"a": 45, "b": 30, "c": 5}
    paths = [write_video(f"{name}.mp4", frames) for name, frames in lengths.items()]
    streams = [Stream("a", 4), Stream("b", 2), Stream("c", 1)]
    answers = {stream.name: [] for stream in streams}
    with open_source(paths[0]) as a, open_source(paths[1]) as b, open_source(paths[2]) as c:
        summaries = run_streams(
            quick,
            list(zip(streams, (a, b, c), strict=True)),
            answered=lambda name, answer: answers[name].append(answer),
        )
    assert {name: summary.answered for name, summary in summaries.items()} == {
        name: len(found) for name, found in answers.items()
    }
    # 1.5 s with a clip every 250 ms once the first 400 ms are in; the short one at its end.
    counts = {name: s.answered + s.dropped for name, s in summaries.items()}
    assert 1 <= counts["a"] <= 5 and 1 <= counts["b"] <= 2 and counts["c"] == 1
    for name, summary in summaries.items():
        assert summary.problem is None and sum(summary.subnets.values()) == summary.answered
        for answer in answers[name]:
            assert answer.scores.sum() == pytest.approx(1, abs=1e-5)
            assert quick.table[answer.subnet].macs == answer.macs
    assert not [t for t in threading.enumerate() if t.name.startswith("stream")]


class Source:
    """A live source of ``count`` frames, which then ends or raises ``error``."""

    live, fps, path = True, 30, None

    def __init__(self, count, error=None):
        self.count, self.error = count, error

    def as_live(self):
        return self

    def frames(self, seen, stop):
        for number in range(self.count):
            if stop.is_set():
                return
            frame = np.full((40, 40, 3), number % 256, np.uint8)
            seen(number / 30, frame)
            yield number / 30, frame
        if self.error is not None:
            raise self.error


def test_a_source_that_is_lost_does_not_stop_the_others(quick):
    lost = Source(30, error=InputError("b: lost"))
    streams = [(Stream("a", 2), Source(60)), (Stream("b", 2), lost)]
    summaries = run_streams(quick, streams)
    assert (summaries["a"].problem, summaries["b"].problem) == (None, "b: lost")
    assert summaries["a"].answered > 0
    with pytest.raises(InputError, match="b: lost"):
        run_streams(quick, [(Stream("b", 2), Source(0, error=InputError("b: lost")))])
    with pytest.raises(ZeroDivisionError):
        run_streams(quick, [(Stream("b", 2), Source(9, error=ZeroDivisionError()))])


def test_stopping(quick):
    stop = threading.Event()
    streams = [(Stream("a", 2), Source(10**9)), (Stream("b", 2), Source(10**9))]
    summaries = run_streams(quick, streams, answered=lambda *_: stop.set(), stop=stop)
    assert sum(summary.answered for summary in summaries.values()) >= 1
    assert not [t for t in threading.enumerate() if t.name.startswith("stream")]
    seconds = run_streams(quick, [(Stream("a", 2), Source(10**9))], seconds=2.0)
    assert 1 <= seconds["a"].answered + seconds["a"].dropped <= 4
