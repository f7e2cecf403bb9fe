import random

import pytest

from mutualvideo.errors import InputError
from mutualvideo.policy.controller import PATIENCE, TARGET, Controller
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable, Row

MS = (5.0, 8.0, 12.0, 16.0, 24.0, 40.0)


def table_of(milliseconds, latency=True):
    return QueryTable(
        [
            Row(
                Subnet(0.2 + i / 50, 8, 112),
                int(ms * 1e6),
                1,
                50.0 + i,
                90.0,
                ms if latency else None,
            )
            for i, ms in enumerate(milliseconds)
        ]
    )


def random_table(draw):
    milliseconds = [5.0]
    for _ in range(7):
        milliseconds.append(milliseconds[-1] * draw.uniform(1.05, 1.6))
    return table_of(milliseconds)


def play(controller, clips, true_ms, draw=None, jitter=0.0, delay=0):
    """Feeds ``clips`` answers; returns the row of each. ``delay``: clips a switch takes."""
    coming, rows = [controller.row] * (delay + 1), []
    for clip in range(clips):
        rows.append(coming.pop(0))
        noise = draw.uniform(1 - jitter, 1 + jitter) if jitter else 1.0
        coming.append(controller.observe(rows[-1].subnet, true_ms(clip, rows[-1]) * noise))
    return rows


def nominal(table, ms):
    """By definition: the most accurate row that leaves a tenth of the budget; else the cheapest."""
    inside = [row for row in table if row.latency_ms <= TARGET * ms]
    return max(inside or [min(table, key=lambda row: row.latency_ms)], key=lambda row: row.top1)


@pytest.mark.parametrize("jitter", [0.0, 0.1])
@pytest.mark.parametrize("delay", [0, 1])
def test_half_the_cpu_is_answered_within_3_clips_and_recovered_from_within_10(jitter, delay):
    late, recovered = [], []
    for seed in range(150):
        draw = random.Random(seed)
        table = random_table(draw)
        costs = [row.latency_ms for row in table]
        budget = draw.uniform(2 * costs[0] / TARGET, 1.3 * costs[-1])
        controller = Controller(table)
        first = controller.set_budget(ms=budget)
        assert first == nominal(table, budget)
        begin, end = 60, 120
        rows = play(
            controller,
            180,
            lambda clip, row: row.latency_ms * (2 if begin <= clip < end else 1),  # noqa: B023
            draw,
            jitter,
            delay,
        )
        slow = [2 * row.latency_ms <= budget for row in rows[begin:end]]
        late.append(slow.index(True))
        better = [row.top1 >= first.top1 for row in rows[end:]]
        recovered.append(better.index(True))
    assert max(late) <= 3
    # With jitter and a late switch a recovery may take a clip more; none of them is lost.
    assert sum(clips > 10 for clips in recovered) <= (0.01 * len(recovered) if jitter else 0)
    assert max(recovered) <= 12


def time_slices(work_ms, start_ms, slice_ms=4.0):
    """When a job ends that gets every second time slice of one core."""
    now = start_ms
    while True:
        left = slice_ms - now % slice_ms
        if now // slice_ms % 2 == 0:
            if work_ms <= left:
                return now + work_ms
            work_ms -= left
        now += left


@pytest.mark.parametrize("seed", range(10))
def test_a_co_tenant_on_the_same_core(seed):
    """Not a factor but a scheduler: another process gets every second 4 ms of the core."""
    draw = random.Random(seed)
    table, budget = table_of(MS), draw.uniform(20.0, 60.0)
    controller = Controller(table)
    first = controller.set_budget(ms=budget)
    now, taken = 0.0, []
    for clip in range(160):
        now += draw.uniform(0.0, 5.0)
        work = controller.row.latency_ms
        end = time_slices(work, now) if 50 <= clip < 100 else now + work
        taken.append((controller.row, end - now))
        controller.observe(controller.row.subnet, end - now)
        now = end
    # One slice of luck either way.
    assert all(ms <= budget + 4.0 for _, ms in taken[53:100])
    assert taken[52][0].latency_ms < first.latency_ms or 2 * first.latency_ms <= budget
    assert all(row == first for row, _ in taken[:50] + taken[110:])


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("jitter", [0.1, 0.2])
def test_jitter_and_spikes_do_not_switch(seed, jitter):
    draw = random.Random(seed)
    controller = Controller(table_of((*MS[:-1], 25.0, 26.5)))
    # 26.5 of 32 ms: 83 %; the rows below are near each other.
    first = controller.set_budget(ms=32.0)
    rows = play(
        controller,
        1000,
        lambda clip, row: row.latency_ms * (8 if clip % 17 == 16 else 1),
        draw,
        jitter,
    )
    assert set(rows) == {first}


@pytest.mark.parametrize("seed", range(20))
def test_the_worst_row_for_flapping_is_soon_left_alone(seed):
    """A row in truth at the very edge, with jitter: switches become rarer, by the backoff."""
    draw = random.Random(seed)
    controller = Controller(table_of(MS))
    controller.set_budget(ms=25.5)
    rows = play(controller, 3000, lambda clip, row: row.latency_ms * 1.06, draw, 0.1)
    switches = [n for n in range(1, 3000) if rows[n] != rows[n - 1]]
    assert len(switches) <= 12
    assert len([n for n in switches if n > 1000]) <= 4


def test_down_at_once_up_one_wait_later():
    controller = Controller(table_of(MS))
    assert controller.set_budget(ms=45.0).latency_ms == 40.0
    rows = play(controller, 3, lambda c, r: 2 * r.latency_ms)
    assert [row.latency_ms for row in rows] == [40, 40, 16]
    # The machine is fast again: noticed after three clips, trusted after PATIENCE.
    rows = play(controller, 9, lambda c, r: r.latency_ms)
    assert [row.latency_ms for row in rows] == [16] * (3 + PATIENCE - 1) + [40] * 3


def test_no_row_fits_is_late_and_no_error():
    controller = Controller(table_of(MS))
    controller.set_budget(ms=6.0)
    assert not controller.late
    rows = play(controller, 10, lambda c, r: 3 * r.latency_ms)
    assert controller.late and rows[-1].latency_ms == 5.0
    # A budget the table promises is accepted, whatever the machine does now.
    assert controller.set_budget(ms=5.0).latency_ms == 5.0 and controller.late
    play(controller, 10, lambda c, r: r.latency_ms)
    assert not controller.late


def test_what_was_observed_counts_for_the_next_budget():
    controller = Controller(table_of(MS))
    controller.set_budget(macs=8e6)
    play(controller, 5, lambda c, r: 2 * r.latency_ms)
    assert controller.slowdown.factor == 2.0
    assert controller.row.latency_ms == 8.0, "a budget in multiply-adds does not move"
    assert controller.set_budget(ms=30.0).latency_ms == 12.0


def test_frames_per_second_count_everything():
    controller = Controller(table_of(MS))
    assert controller.set_budget(fps=20).latency_ms == 40.0
    for _ in range(3):
        controller.observe(controller.row.subnet, controller.row.latency_ms, other_ms=30.0)
    # 50 ms a clip, 30 of them elsewhere.
    assert controller.row.latency_ms == 16.0
    controller.set_budget(ms=45.0)
    controller.observe(controller.row.subnet, controller.row.latency_ms, other_ms=30.0)
    assert controller.row.latency_ms == 40.0


def test_a_table_without_latencies_is_learnt_from_the_cheapest_row_up():
    controller = Controller(table_of(MS, latency=False))
    assert controller.set_budget(ms=32.0).macs == 5e6
    truth = dict(zip((row.macs for row in controller.table), (9, 11, 14, 19, 26, 41), strict=True))
    rows = play(controller, 200, lambda c, r: truth[r.macs])
    assert rows[-1].macs == 24e6
    assert max(truth[row.macs] for row in rows) <= 32


def test_costs_alone_rank_by_multiply_adds():
    table = QueryTable(
        [
            Row(Subnet(0.5, 8, 112), 10, 1, latency_ms=4.0),
            Row(Subnet(0.75, 8, 112), 20, 1, latency_ms=9.0),
            Row(Subnet(0.6, 8, 112), 15, 1, latency_ms=9.5),
        ]
    )
    assert Controller(table).set_budget(ms=20.0).macs == 20
    assert Controller(table).set_budget(macs=16).macs == 15


@pytest.mark.parametrize(
    ("budget", "named"),
    [
        ({}, "exactly one budget"),
        ({"ms": 1, "fps": 1}, "exactly one budget"),
        ({"fps": 0}, "fps=0"),
        ({"fps": "25"}, "fps='25'"),
        ({"ms": float("nan")}, "ms=nan"),
        ({"ms": 4.9}, "below the cheapest .* at 5.0 ms"),
        ({"fps": 201}, "below the cheapest .* at 5.0 ms"),
        ({"macs": 1000}, "below the cheapest"),
    ],
)
def test_bad_budgets_leave_the_controller_as_it_was(budget, named):
    controller = Controller(table_of(MS))
    before = controller.set_budget(ms=20.0)
    with pytest.raises(InputError, match=named):
        controller.set_budget(**budget)
    assert controller.row == before
    play(controller, 20, lambda c, r: r.latency_ms)
    assert controller.row == before


def test_observing_needs_a_budget_and_a_row_of_the_table():
    controller = Controller(table_of(MS))
    with pytest.raises(InputError, match="set_budget"):
        controller.observe(Subnet(0.2, 8, 112), 1.0)
    controller.set_budget(ms=20.0)
    with pytest.raises(InputError, match="3x1x1 is not in the table"):
        controller.observe(Subnet(3, 1, 1), 1.0)
