import heapq
import random

import pytest

from mutualvideo.errors import InputError
from mutualvideo.policy.scheduler import Scheduler
from mutualvideo.policy.stream_plan import Stream, load_of
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable, Row

TABLE = QueryTable(
    [
        Row(Subnet(0.2 + i / 20, 8, 112), int(ms * 1e6), 1, 50.0 + 4 * i, 90.0, ms)
        for i, ms in enumerate((2.0, 3.0, 5.0, 9.0, 17.0, 30.0, 55.0))
    ]
)


def play(scheduler, streams, seconds, draw, slow=lambda now_s: 1.0, phase=None, late=0.0):
    """Event by event: clips come, the device takes one whenever it is free.

    ``late``: mean of an exponential delay of each clip, in periods (the next is later too).
    Returns ``[(stream, submitted, answered, row), ...]``.
    """
    arrivals, log, free_s = [], [], 0.0
    for stream in streams:
        start = draw.uniform(0, stream.period_ms / 1000) if phase is None else phase
        heapq.heappush(arrivals, (start, stream.name, stream.period_ms / 1000))
    while arrivals[0][0] < seconds or scheduler._waiting:
        while arrivals[0][0] <= free_s:
            now_s, name, period_s = heapq.heappop(arrivals)
            scheduler.submit(name, now_s, clip=now_s)
            gap = period_s * (1 + (draw.expovariate(1 / late) if late else 0))
            heapq.heappush(arrivals, (now_s + gap, name, period_s))
        job = scheduler.take()
        if job is None:
            free_s = arrivals[0][0]
            continue
        took_s = job.row.latency_ms / 1000 * slow(free_s)
        free_s += took_s
        scheduler.finish(job, took_s * 1000, free_s)
        log.append((job.stream, job.clip, free_s, job.row))
    return log


@pytest.mark.parametrize("seed", range(60))
def test_no_deadline_is_missed(seed):
    """Whatever the phases: all at once, spread, or irregular; the whole device planned."""
    draw = random.Random(seed)
    rates = [draw.choice([1, 2, 4, 8, 15, draw.uniform(1, 20)]) for _ in range(draw.randint(1, 6))]
    streams = [Stream(f"s{i}", rate) for i, rate in enumerate(rates)]
    if load_of([s.period_ms for s in streams], [2.0] * len(streams)) > 1:
        pytest.skip("more than this device does")
    scheduler = Scheduler(TABLE, streams, share=1.0)
    phase, late = (None, 0.0)[seed % 2], (0.0, 0.0, 0.3)[seed % 3]
    log = play(scheduler, streams, 20, draw, phase=phase, late=late)
    due = {stream.name: stream.period_ms / 1000 for stream in streams}
    assert all(done - came <= due[name] + 1e-9 for name, came, done, _ in log)
    assert sum(scheduler.missed.values()) == sum(scheduler.dropped.values()) == 0
    # Not by doing nothing.
    assert len(log) >= 10 * sum(rates)


def test_the_clip_that_blocks_is_reckoned_with():
    """Half a second of work every two seconds would fit; not beside a clip due in 50 ms."""
    table = QueryTable([*TABLE.rows, Row(Subnet(1, 8, 224), 10**9, 1, 99.0, 99.0, 500.0)])
    slow, quick = Stream("slow", 0.5), Stream("quick", 20)
    assert Scheduler(table, [slow]).plan.rows["slow"].latency_ms == 500.0
    plan = Scheduler(table, [slow, quick]).plan
    assert plan.rows["slow"].latency_ms + plan.rows["quick"].latency_ms <= 0.9 * 50


def test_the_earliest_deadline_goes_first_and_new_clips_replace_old_ones():
    scheduler = Scheduler(TABLE, [Stream("slow", 1), Stream("quick", 5)])
    assert scheduler.take() is None
    scheduler.submit("slow", 0.0, "a")
    scheduler.submit("quick", 0.7, "b")
    scheduler.submit("quick", 0.9, "c")
    scheduler.submit("slow", 0.95, "d")
    jobs = [scheduler.take(), scheduler.take()]
    # The first in the queue are due at 0.9 (b, replaced by c) and 1.0 (a, replaced by d).
    assert [(job.clip, job.deadline_s) for job in jobs] == [
        ("c", pytest.approx(1.1)),
        ("d", pytest.approx(1.95)),
    ]
    assert scheduler.dropped == {"slow": 1, "quick": 1} and scheduler.take() is None
    scheduler.finish(jobs[0], 1.0, 1.2)
    scheduler.finish(jobs[1], 1.0, 1.3)
    assert scheduler.missed == {"slow": 0, "quick": 1}
    with pytest.raises(InputError, match="'other' is not scheduled; the streams are slow, quick"):
        scheduler.submit("other", 0.0)


def test_a_slower_machine_gets_a_cheaper_plan_and_a_faster_one_the_old_plan_back():
    streams = [Stream("a", 10), Stream("b", 5), Stream("c", 2)]
    scheduler = Scheduler(TABLE, streams)
    before = scheduler.plan

    def slow(now_s):
        return 2.0 if 10 <= now_s < 20 else 1.0

    log = play(scheduler, streams, 40, random.Random(0), slow)
    due = {stream.name: stream.period_ms / 1000 for stream in streams}
    missed = [came for name, came, done, _ in log if done - came > due[name] + 1e-9]
    # 17 clips a second: what came in the first third of a second may suffer, nothing later.
    assert all(9.5 <= came < 10.4 for came in missed)
    assert len([row for _, came, _, row in log if 10.5 <= came < 20 and row.latency_ms > 30]) == 0
    assert scheduler.plan == before
    last = {name: row for name, came, _, row in log if came > 21}
    assert last == before.rows


def test_a_machine_too_slow_for_all_rows_does_its_best_and_recovers():
    streams = [Stream(name, 40) for name in "abcd"]
    scheduler = Scheduler(TABLE, streams)

    def slow(now_s):
        return 5.0 if 2 <= now_s < 4 else 1.0

    log = play(scheduler, streams, 10, random.Random(0), slow)
    assert {row.latency_ms for _, came, _, row in log if 2.5 < came < 4} == {2.0}
    assert sum(scheduler.dropped.values()) > 50
    assert len(scheduler._waiting) == 0
    assert scheduler.plan.feasible and scheduler.plan.slowdown == pytest.approx(1.0)
    # Every clip that was not dropped was answered, and each stream in its turn.
    answers = [sum(name == s.name for name, came, _, _ in log if 2.5 < came < 4) for s in streams]
    assert min(answers) >= 0.5 * max(answers)


def test_streams_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="2 streams need 1.60 of the device"):
        Scheduler(TABLE, [Stream("a", 400), Stream("b", 400)])
