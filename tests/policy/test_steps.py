"""The rows that may answer a request: the best within its budget, and cheaper ones below."""

import pytest

from mutualvideo.budget import Budget
from mutualvideo.errors import InputError
from mutualvideo.policy.batching import BatchLatency
from mutualvideo.policy.steps import Steps
from mutualvideo.table.query import QueryTable, Row
from tests.policy.rows import ROWS, A, B, C, D


def refuse(subnet):
    raise InputError(f"{subnet} was never calibrated")


def make(rows=ROWS, bad=()):
    table = QueryTable(rows)
    latency = BatchLatency(table, 1)
    return Steps(table, lambda subnet: refuse(subnet) if subnet in bad else None, latency), latency


def subnets(rows):
    return [row.subnet for row in rows]


@pytest.mark.parametrize(
    ("text", "count"), [("160", 3), ("39", 1), ("16ms", 3), ("15.9ms", 2), ("15fps", 4)]
)
def test_the_best_row_and_the_cheaper_ones(text, count):
    assert make()[0].within(Budget.parse(text)) == tuple(ROWS[:count])


def test_budgets_in_time_are_held_against_the_present_speed():
    steps, latency = make()
    for _ in range(10):
        latency.observe(B, 1, 8.0, other_ms=4.0)
    assert latency.speed == 2.0
    # 32 ms are 16 of the table's; multiply-adds know no speed.
    assert subnets(steps.within(Budget.parse("32ms"))) == [A, B, C]
    assert subnets(steps.within(Budget.parse("31.9ms"))) == [A, B]
    assert subnets(steps.within(Budget.parse("160"))) == [A, B, C]
    # 36 ms for a clip, 4 of them outside the network.
    assert subnets(steps.within(Budget("fps", 1000 / 36))) == [A, B, C]
    # Too slow for every row: the cheapest.
    assert subnets(steps.within(Budget.parse("1ms"))) == [A]


def test_rows_that_cannot_answer():
    steps, _ = make(bad={B})
    assert subnets(steps.up_to(ROWS[3])) == [A, C, D]
    for call in (lambda: steps.only(B), lambda: steps.within(Budget.parse("40"))):
        with pytest.raises(InputError, match="0.5x2x8 was never calibrated"):
            call()
    assert subnets(steps.only(C)) == [C]
    with pytest.raises(InputError, match="is of a stream in continual form"):
        steps.within(Budget.parse("2G/s"))
    with pytest.raises(InputError, match="below the cheapest sub-network, 0.25x2x8 at 1.0 ms"):
        steps.within(Budget.parse("0.5ms"))


def test_without_latencies_multiply_adds_order_the_rows():
    rows = [Row(row.subnet, row.macs, 1, row.top1, row.top5) for row in ROWS]
    steps, _ = make(rows)
    assert subnets(steps.within(Budget.parse("160"))) == [A, B, C]
    assert steps.cost(rows[2]) == 160 and make()[0].cost(ROWS[2]) == 16.0
