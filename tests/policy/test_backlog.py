"""Which clips go next, together, as which row: on a clock that nobody waits for."""

import itertools
import random

import pytest

from mutualvideo.policy.backlog import Backlog, Request
from mutualvideo.policy.batching import BatchLatency
from mutualvideo.table.query import QueryTable
from tests.policy.rows import ROWS, A, B, C, D

MS = {row.subnet: row.latency_ms for row in ROWS}


def make(max_batch=1, max_wait_s=0.0):
    return Backlog(BatchLatency(QueryTable(ROWS), max_batch), max_batch, max_wait_s)


class Asked(Request):
    """Whose caller may lose interest."""

    unwanted = False

    def cancelled(self):
        return self.unwanted


def ask(backlog, best=D, came_ms=0.0, due_ms=None, client=None, name=None):
    rows = tuple(row for row in ROWS if row.latency_ms <= MS[best])
    due_s = None if due_ms is None else due_ms / 1000
    costs = tuple(row.latency_ms for row in rows)
    request = Asked(name, rows, costs, came_ms / 1000, due_s, client)
    backlog.add(request)
    return request


def everything(subnet):
    return True


def drain(backlog, now_ms=0.0, ready=everything):
    """Runs all batches one after the other; ``[(name, sub-network, end in ms), ...]``."""
    log = []
    while True:
        choice = backlog.choose(now_ms / 1000, ready, hurry=True)
        if not choice.batch:
            return log
        now_ms += MS[choice.row.subnet] * len(choice.batch)
        log += [(request.clip, choice.row.subnet, now_ms) for request in choice.batch]
        backlog.remove(choice.batch)


def test_without_a_hurry_everybody_gets_the_best_row():
    backlog = make()
    for best in (B, D, A, C):
        ask(backlog, best, name=best)
    assert [(name, subnet) for name, subnet, _ in drain(backlog)] == [(s, s) for s in (B, D, A, C)]
    assert len(backlog) == 0 and backlog.choose(0.0, everything).until_s is None


@pytest.mark.parametrize(
    ("count", "due_ms", "row"),
    [(1, 64, D), (1, 63, C), (2, 128, D), (2, 127, C), (8, 128, C), (8, 127, B), (8, 8, A)],
)
def test_the_dearest_row_with_which_all_deadlines_hold(count, due_ms, row):
    backlog = make()
    for number in range(count):
        ask(backlog, due_ms=due_ms, client=number)
    first = backlog.choose(0.0, everything)
    assert first.row.subnet == row
    # Afterwards there may be time for better ones; never too little.
    assert all(end_ms <= due_ms for _, _, end_ms in drain(backlog))


def test_budgets_stay_below_the_limit():
    backlog = make()
    for best in (A, B, C, D):
        ask(backlog, best, due_ms=40, client=best, name=best)
    log = {name: subnet for name, subnet, _ in drain(backlog)}
    # 1 + 4 + 16 + 16 ms.
    assert log == {A: A, B: B, C: C, D: C}


@pytest.mark.parametrize("seed", range(20))
def test_deadlines_hold_whenever_the_cheapest_rows_could_hold_them(seed):
    """A reference that tries all assignments of one row to all, in the order of deadlines."""
    draw = random.Random(seed)
    dues = sorted(draw.uniform(5, 300) for _ in range(draw.randint(1, 12)))
    backlog = make()
    for number in draw.sample(range(len(dues)), len(dues)):
        ask(backlog, due_ms=dues[number], client=number, name=number)

    def holds(ms):
        return all(ms * (number + 1) <= due for number, due in enumerate(dues))

    possible = [row for row in ROWS if holds(row.latency_ms)]
    log = drain(backlog)
    assert [name for name, _, _ in log] == list(range(len(dues)))
    if possible:
        assert log[0][1] == possible[-1].subnet
        assert all(end_ms <= dues[name] for name, _, end_ms in log)
    else:
        assert log[0][1] == A


def test_what_is_late_anyway_makes_nobody_else_cheap_or_late():
    backlog = make()
    ask(backlog, due_ms=10, client=1, name="lost")
    ask(backlog, due_ms=80, client=2, name="possible")
    # At 15 ms nothing can save the first one; the second needs 64 ms of the 65 left.
    assert drain(backlog, now_ms=15) == [("possible", D, 79), ("lost", A, 80)]


def test_the_lost_ones_do_not_wait_for_ever():
    backlog = make()
    ask(backlog, due_ms=10, client="lost", name="lost")
    now_ms, served = 20.0, []
    for number in range(100):
        ask(backlog, came_ms=now_ms, due_ms=now_ms + 70, client=number, name=number)
        choice = backlog.choose(now_ms / 1000, everything, hurry=True)
        served += [request.clip for request in choice.batch]
        now_ms += MS[choice.row.subnet]
        backlog.remove(choice.batch)
        if "lost" in served:
            break
    assert "lost" in served


def test_clients_take_turns():
    backlog = make()
    for number in range(6):
        ask(backlog, A, client="many", name=f"many {number}")
    for number in range(2):
        ask(backlog, A, client="few", name=f"few {number}")
    order = [name for name, _, _ in drain(backlog)]
    assert order == ["many 0", "few 0", "many 1", "few 1", "many 2", "many 3", "many 4", "many 5"]


def test_a_newcomer_neither_waits_for_the_flood_nor_catches_up():
    backlog, order = make(), []
    for _ in range(20):
        ask(backlog, A, client="flood", name="flood")

    def serve(turns):
        for _ in range(turns):
            choice = backlog.choose(0.0, everything, hurry=True)
            order.append(choice.batch[0].clip)
            backlog.remove(choice.batch)

    serve(10)
    for _ in range(4):
        ask(backlog, A, client="new", name="new")
    order.clear()
    serve(8)
    assert sorted(order) == ["flood"] * 4 + ["new"] * 4
    assert all(len(list(run)) <= 2 for _, run in itertools.groupby(order))
    # Those who have left leave nothing behind.
    serve(6)
    ask(backlog, A, client="last")
    assert set(backlog._turns) == {"last"}


def test_clips_of_one_row_share_a_batch():
    backlog = make(max_batch=4)
    for number in range(5):
        ask(backlog, B, client=number, name=number)
    ask(backlog, C, client=7, name=7)
    latency = backlog._latency
    for size in (2, 4):
        for _ in range(4):
            latency.observe(B, size, 4.0 * size * {2: 0.8, 4: 0.6}[size])
    choice = backlog.choose(0.0, everything, hurry=True)
    assert [request.clip for request in choice.batch] == [0, 1, 2, 3]
    backlog.remove(choice.batch)
    assert [len(backlog.choose(0.0, everything, True).batch), len(backlog)] == [1, 2]


def test_a_batch_waits_for_others_but_not_beyond_a_deadline():
    backlog = make(max_batch=2, max_wait_s=0.010)
    ask(backlog, B, came_ms=0, client=1)
    choice = backlog.choose(0.003, everything)
    assert not choice.batch and choice.until_s == pytest.approx(0.010)
    assert len(backlog.choose(0.003, everything, hurry=True).batch) == 1
    assert len(backlog.choose(0.0101, everything).batch) == 1
    # 4 ms of work, due at 21 ms: with 10 ms to spare it starts at 7 ms.
    backlog = make(max_batch=2, max_wait_s=0.010)
    ask(backlog, B, came_ms=0, due_ms=21, client=1)
    assert backlog.choose(0.003, everything).until_s == pytest.approx(0.007)
    choice = backlog.choose(0.0071, everything)
    assert choice.batch and choice.row.subnet == B
    # Full: there is nothing to wait for.
    ask(backlog, B, came_ms=0, client=2)
    assert len(backlog.choose(0.003, everything).batch) == 2


@pytest.mark.parametrize(
    ("ready", "row", "wanted"),
    [
        ({A, B, C, D}, C, set()),
        ({A, B, D}, B, {C}),
        ({A, D}, A, {C}),
        # D is beyond the budget.
        ({D}, None, {C}),
        (set(), None, {C}),
    ],
)
def test_until_a_row_is_ready_the_next_cheaper_one_answers(ready, row, wanted):
    backlog = make()
    ask(backlog, C)
    choice = backlog.choose(0.0, ready.__contains__)
    assert (choice.row and choice.row.subnet) == row
    assert choice.wanted == wanted and bool(choice.batch) == (row is not None)
    assert len(backlog) == 1


def test_a_dearer_row_within_the_budget_rather_than_none():
    backlog = make()
    ask(backlog, C, due_ms=5)
    choice = backlog.choose(0.0, {C, D}.__contains__)
    assert choice.row.subnet == C and choice.wanted == {A}
    # Once there is something that holds, what would be better is asked for.
    choice = backlog.choose(0.0, {A, C, D}.__contains__)
    assert choice.row.subnet == A and choice.wanted == {B}


def test_clips_that_have_no_row_yet_let_others_pass():
    backlog = make()
    ask(backlog, A, client=1, name="blocked")
    ask(backlog, C, client=2, name="free")
    log = drain(backlog, ready={B, C}.__contains__)
    assert [name for name, _, _ in log] == ["free"]
    assert backlog.choose(0.0, {B, C}.__contains__).wanted == {A}
    assert [name for name, _, _ in drain(backlog)] == ["blocked"]


def test_cancelled_requests_are_forgotten():
    backlog = make()
    first, _ = ask(backlog, A, name=1), ask(backlog, A, name=2)
    first.unwanted = True
    assert [name for name, _, _ in drain(backlog)] == [2]
