"""Requests of many threads: each gets one answer or exception, whatever goes wrong."""

import threading

import numpy as np
import pytest

from mutualvideo.errors import InputError
from mutualvideo.runtime.prepared import PreparationError
from mutualvideo.serving.answer import AnswerError
from mutualvideo.serving.service import ClosedError, OverloadError, Service
from mutualvideo.table.query import Row
from tests.policy.rows import ROWS, A, B, C, D
from tests.serving.fakes import LONG, FakeRecognizer, clip


class Gate:
    """Holds the worker in its first call until it is let go."""

    def __init__(self, recognizer):
        self.reached, self.go = threading.Event(), threading.Event()
        recognizer.answering = self

    def __call__(self):
        self.reached.set()
        assert self.go.wait(LONG)


@pytest.fixture
def recognizer():
    return FakeRecognizer()


@pytest.fixture
def served(recognizer):
    with Service(recognizer, max_wait_ms=0, clock=recognizer.clock) as service:
        yield service


@pytest.fixture
def held(recognizer, served):
    """The service while its worker is busy with a first clip of row A."""
    gate = Gate(recognizer)
    served.first = served.submit(clip(99), subnet=A)
    assert gate.reached.wait(LONG)
    served.go = gate.go.set
    yield served
    gate.go.set()


def test_budgets(recognizer, served):
    cases = [({"macs": 160}, C), ({"macs": 639}, C), ({"ms": 4}, B), ({"fps": 50}, C)]
    cases += [({"fps": 1000 / 65}, D), ({"subnet": B}, B)]
    for number, (budget, subnet) in enumerate(cases):
        answer = served.submit(clip(number), **budget).result(LONG)
        assert (answer.subnet, answer.wanted, answer.shed, answer.late) == (
            subnet,
            subnet,
            False,
            False,
        )
        assert answer.labels == (str(number),) and answer.scores.shape == (1, 256)
        assert answer.macs == recognizer.table[subnet].macs
        assert answer.latency_ms == pytest.approx(recognizer.table[subnet].latency_ms)
    with pytest.raises(InputError, match="give a budget"):
        served.submit(clip())
    assert not recognizer.learnt
    recognizer.current = recognizer.table[B]
    assert served.submit(clip()).result(LONG).subnet == B
    assert recognizer.learnt == [(B, pytest.approx(4.0), 0.0)]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"macs": 9}, "below the cheapest sub-network, 0.25x2x8"),
        ({"ms": 0.5}, "below the cheapest"),
        ({"fps": 2000}, "below the cheapest"),
        ({"fps": -1}, "-1"),
        ({"macs": 100, "ms": 5}, "one budget"),
        ({"macs": 100, "deadline_ms": 0}, "deadline_ms=0"),
    ],
)
def test_what_cannot_be_asked_for(served, arguments, named):
    with pytest.raises(InputError, match=named):
        served.submit(clip(), **arguments)


def test_a_bad_clip_fails_alone(held):
    """Its neighbours would share its batch."""
    futures = [held.submit(clip(number), subnet=B) for number in range(2)]
    for bad in (clip().astype(np.float32), np.zeros((3, 8), np.uint8), np.stack([clip()] * 2)):
        with pytest.raises(InputError, match="clip: expected"):
            held.submit(bad.transpose(0, 4, 1, 2, 3) if bad.ndim == 5 else bad, subnet=B)
    futures += [held.submit(clip(number), subnet=B) for number in (2, 3)]
    held.go()
    assert [future.result(LONG).labels for future in futures] == [(str(n),) for n in range(4)]
    assert held.stats.waiting == 0


def test_clips_of_one_row_are_answered_together(recognizer, held):
    futures = [held.submit(clip(number), subnet=(B, C)[number % 2]) for number in range(4)]
    held.go()
    answers = [future.result(LONG) for future in futures]
    assert [answer.labels[0] for answer in answers] == ["0", "1", "2", "3"]
    assert recognizer.calls == [(A, 1), (B, 2), (C, 2)]
    assert [answer.batch for answer in answers] == [2] * 4
    assert answers[0].latency_ms == pytest.approx(8)
    assert held.stats.batches == 3 and held.stats.answered == 5


def test_deadlines_are_kept_by_answering_more_cheaply(recognizer, held):
    # Until all are in, no time passes: 8 clips in 130 ms beside the first one.
    futures = [
        held.submit(clip(number), macs=640, deadline_ms=130, client=number) for number in range(8)
    ]
    held.go()
    answers = [future.result(LONG) for future in futures]
    # With C, batches of 8 would end at 129 ms.
    assert {answer.subnet for answer in answers} == {C}
    assert all(answer.shed and answer.wanted == D and not answer.late for answer in answers)
    assert all(answer.total_ms <= 130 for answer in answers)
    assert held.stats.shed == 8 and held.stats.late == 0


def test_when_nothing_can_make_it_the_cheapest_answers_late(recognizer, held):
    recognizer.slow = 100
    hurried = {"macs": 640, "deadline_ms": 3}
    futures = [held.submit(clip(number), **hurried, client=number) for number in (1, 2)]
    futures.append(held.submit(clip(3), macs=640, client=3))
    held.go()
    answers = [future.result(LONG) for future in futures]
    # They were given up; the one without a deadline does not suffer.
    assert [answer.subnet for answer in answers] == [A, A, D]
    assert [answer.late for answer in answers] == [True, True, False]
    assert held.stats.late == 2


def test_the_deadline_of_the_service(recognizer):
    with Service(recognizer, max_wait_ms=0, deadline_ms=20, clock=recognizer.clock) as service:
        assert service.submit(clip(), macs=640).result(LONG).subnet == C
        assert service.submit(clip(), macs=640, deadline_ms=100).result(LONG).subnet == D


def test_a_slow_machine_gets_cheaper_rows(recognizer, served):
    def ask(**budget):
        return served.submit(clip(), **budget).result(LONG).subnet

    assert ask(ms=16) == C
    recognizer.slow = 2.0
    assert [ask(ms=16) for _ in range(4)][2:] == [B, B]
    assert served.slowdown == pytest.approx(2.0)
    # Even the cheapest takes 8 ms then: it does what it can.
    recognizer.slow = 8.0
    assert [ask(ms=4) for _ in range(4)][-1] == A
    recognizer.slow = 1.0
    assert [ask(ms=16) for _ in range(8)][-1] == C
    # What a request may cost in MACs has nothing to do with the time.
    assert ask(macs=640) == D


def test_beyond_the_bound_requests_are_refused(recognizer):
    gate = Gate(recognizer)
    with Service(recognizer, max_wait_ms=0, max_queue=2, clock=recognizer.clock) as service:
        futures = [service.submit(clip(), subnet=A)]
        assert gate.reached.wait(LONG)
        futures += [service.submit(clip(), subnet=A) for _ in range(2)]
        with pytest.raises(OverloadError, match=r"2 requests wait already \(max_queue\)"):
            service.submit(clip(), subnet=A)
        gate.go.set()
        assert all(future.result(LONG).subnet == A for future in futures)
        assert service.submit(clip(), subnet=A).result(LONG)
    assert service.stats.refused == 1 and service.stats.answered == 4


def test_cancelling(held):
    futures = [held.submit(clip(number), subnet=B) for number in range(3)]
    assert futures[1].cancel() and not held.first.cancel()
    held.go()
    assert [futures[n].result(LONG).labels for n in (0, 2)] == [("0",), ("2",)]
    assert held.first.result(LONG).labels == ("99",)
    held.close()
    assert (held.stats.cancelled, held.stats.answered) == (1, 3)


@pytest.mark.parametrize("cancel", [False, True])
def test_closing_answers_or_cancels_what_waits(recognizer, cancel):
    gate = Gate(recognizer)
    service = Service(recognizer, max_wait_ms=1e6, clock=recognizer.clock)
    # A full batch, for two are tried first; the third would wait for a companion.
    first = [service.submit(clip(), subnet=A) for _ in range(2)]
    assert gate.reached.wait(LONG)
    waiting = service.submit(clip(), subnet=B)
    closing = threading.Thread(target=service.close, args=(cancel,))
    closing.start()
    while not service._closed:
        pass
    with pytest.raises(ClosedError, match="closed"):
        service.submit(clip(), subnet=A)
    gate.go.set()
    closing.join(LONG)
    assert not closing.is_alive() and all(future.result(0).subnet == A for future in first)
    assert waiting.cancelled() == cancel and waiting.done()
    assert not [thread for thread in threading.enumerate() if thread.name == "service"]
    service.close()


def test_an_exception_in_the_with_statement_cancels(recognizer):
    gate = Gate(recognizer)
    with pytest.raises(KeyError):
        with Service(recognizer, max_wait_ms=0, clock=recognizer.clock) as service:
            first = service.submit(clip(), subnet=A)
            assert gate.reached.wait(LONG)
            waiting = service.submit(clip(), subnet=B)
            threading.Timer(0.01, gate.go.set).start()
            raise KeyError
    assert first.result(0).subnet == A and waiting.cancelled()


def test_a_service_that_nobody_closes_leaves_no_thread(recognizer):
    service = Service(recognizer, max_wait_ms=0, clock=recognizer.clock)
    for _ in range(2):
        assert service.submit(clip(), subnet=A).result(LONG)
        thread = service._thread
        thread.join(LONG)
        assert not thread.is_alive() and service._thread is None


def test_a_call_that_fails_is_repeated_clip_by_clip(recognizer, held):
    """One of four fails on its own; the batch fails as a whole."""
    recognizer.failing = lambda subnet, clips: (clips == 2 / 255).any()
    futures = [held.submit(clip(number), subnet=B) for number in range(4)]
    # Learnt before: four at once are worth while.
    for size in (2, 4):
        for _ in range(4):
            held._latency.observe(B, size, 4.0 * size * {2: 0.8, 4: 0.5}[size])
    held.go()
    for number in (0, 1, 3):
        assert futures[number].result(LONG).labels == (str(number),)
    with pytest.raises(AnswerError, match=f"sub-network {B} failed on backend 'fake': out of mem"):
        futures[2].result(LONG)
    assert recognizer.calls == [(A, 1), (B, 4)] + [(B, 1)] * 4
    assert held.stats.failed == 1 and held.stats.answered == 4


def test_a_row_that_cannot_be_prepared_fails_those_who_want_it(recognizer, held):
    recognizer.bad.add(C)
    futures = [held.submit(clip(), macs=macs) for macs in (160, 640, 40)]
    held.go()
    with pytest.raises(PreparationError, match=f"sub-network {C} cannot be .* 'fake': no such k"):
        futures[0].result(LONG)
    assert [future.result(LONG).subnet for future in futures[1:]] == [D, B]
    # At once, for half a minute; then it is tried again.
    with pytest.raises(PreparationError, match=f"sub-network {C}"):
        held.submit(clip(), macs=160)
    recognizer.bad.clear()
    recognizer.clock.now_s += 31
    assert held.submit(clip(), macs=160).result(LONG).subnet == C


def test_until_a_row_is_prepared_a_cheaper_one_answers():
    recognizer = FakeRecognizer(immediate=False)
    recognizer.let(A, B)
    recognizer.executor.runners.get(B)
    with Service(recognizer, max_wait_ms=0, clock=recognizer.clock) as service:
        answer = service.submit(clip(), macs=640).result(LONG)
        assert (answer.subnet, answer.wanted, answer.shed) == (B, D, True)
        # Nothing within this budget is ready: it waits, and others pass.
        cheap = service.submit(clip(), macs=10)
        assert service.submit(clip(), macs=40).result(LONG).subnet == B
        recognizer.let(C, D)
        assert cheap.result(LONG).subnet == A
        recognizer.executor.runners.get(D)
        assert service.submit(clip(), macs=640).result(LONG).subnet == D


def test_a_row_that_fails_in_the_background():
    recognizer = FakeRecognizer(immediate=False)
    recognizer.bad.add(C)
    with Service(recognizer, max_wait_ms=0, clock=recognizer.clock) as service:
        # Both wait: none of their rows is ready.
        futures = [service.submit(clip(), macs=160), service.submit(clip(), subnet=D)]
        recognizer.let(A, B, C, D)
        with pytest.raises(PreparationError, match=f"sub-network {C}"):
            futures[0].result(LONG)
        assert futures[1].result(LONG).subnet == D


def test_a_bug_in_the_worker_leaves_nobody_waiting(recognizer, held, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    waiting = held.submit(clip(), subnet=B)
    monkeypatch.setattr(held._backlog, "choose", lambda *_, **__: 1 / 0)
    held.go()
    assert held.first.result(LONG)
    with pytest.raises(ZeroDivisionError):
        waiting.result(LONG)
    monkeypatch.undo()
    assert held.submit(clip(5), subnet=B).result(LONG).labels == ("5",)


def test_callbacks_may_ask_again(recognizer, served):
    found, asked = [], threading.Event()

    def again(future):
        if len(found) < 3:
            found.append(future.result())
            served.submit(clip(len(found)), subnet=A).add_done_callback(again)
        else:
            asked.set()

    served.submit(clip(0), subnet=A).add_done_callback(again)
    assert asked.wait(LONG)
    assert [answer.labels[0] for answer in found] == ["0", "1", "2"]


def test_without_latencies_in_the_table():
    recognizer = FakeRecognizer(rows=[Row(r.subnet, r.macs, 1, r.top1, 100.0) for r in ROWS])
    with Service(recognizer, max_wait_ms=0, clock=recognizer.clock) as service:
        with pytest.raises(InputError, match="no latency"):
            service.submit(clip(), ms=5)
        found = [service.submit(clip(), macs=640, deadline_ms=20).result(LONG) for _ in range(5)]
    # Three clips tell that D takes 64 ms; then C, with a quarter of the MACs, should take 16.
    assert [answer.subnet for answer in found] == [D, D, D, C, C]
    assert [answer.late for answer in found] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"max_batch": 0}, "max_batch"),
        ({"max_queue": 1.5}, "max_queue"),
        ({"max_wait_ms": -1}, "max_wait_ms"),
        ({"deadline_ms": "soon"}, "deadline_ms"),
    ],
)
def test_settings(recognizer, arguments, named):
    with pytest.raises(InputError, match=named):
        Service(recognizer, **arguments)
