"""One budget of a second over several streams in continual form."""

import itertools
import random

import pytest

from mutualvideo.budget import Budget
from mutualvideo.errors import InputError
from mutualvideo.policy.frame_plan import plan_frame_rows
from mutualvideo.subnet import Subnet
from mutualvideo.table.continual_table import ContinualRow, ContinualTable


def random_table(draw, rows):
    return ContinualTable(
        ContinualRow(
            Subnet(round(0.1 * (n + 1), 1), 4, 32),
            draw.randint(10, 1000),
            draw.choice([4.0, 8.0]),
            3,
            0,
            draw.uniform(10, 90),
            draw.uniform(1, 30),
        )
        for n in range(rows)
    )


@pytest.mark.parametrize("unit", ["macs_per_s", "core"])
def test_no_stream_can_have_a_better_row_and_little_is_lost_against_the_best_plan(unit):
    """The reference tries every plan there is."""
    lost = []
    for seed in range(40):
        draw = random.Random(seed)
        table = random_table(draw, 4)
        weights = {name: draw.uniform(0.5, 3) for name in "abc"}
        costs = {row: row.cost(unit) * (2.0 if unit == "core" else 1.0) for row in table}
        low, high = 3 * min(costs.values()), 3 * max(costs.values())
        limit = draw.uniform(low, high)
        plan = plan_frame_rows(table, weights, Budget(unit, limit), slowdown=2.0)

        def worth(rows, weights=weights):
            return sum(
                weight * row.top1 for weight, row in zip(weights.values(), rows, strict=True)
            )

        def cost(rows, costs=costs):
            return sum(costs[row] for row in rows)

        assert list(plan) == list(weights) and cost(plan.values()) <= limit * (1 + 1e-6)
        for name, row in itertools.product(plan, table):
            if row.top1 > plan[name].top1:
                assert cost((plan | {name: row}).values()) > limit
        best = max(
            worth(rows) for rows in itertools.product(table, repeat=3) if cost(rows) <= limit
        )
        lost.append(1 - worth(plan.values()) / best)
    assert sum(lost) / len(lost) < 0.03


def test_weights_decide_who_gets_the_better_row():
    rows = [
        ContinualRow(Subnet(0.5, 4, 32), 100, 1.0, 3, 0, 50.0),
        ContinualRow(Subnet(1.0, 4, 32), 300, 1.0, 3, 0, 60.0),
    ]
    plan = plan_frame_rows(ContinualTable(rows), {"a": 1.0, "b": 2.0, "c": 1.0}, "500/s")
    assert [row.subnet.width for row in plan.values()] == [0.5, 1.0, 0.5]


def test_what_is_refused():
    rows = [ContinualRow(Subnet(0.5, 4, 32), 100, 2.0, 3, 0, 50.0)]
    table = ContinualTable(rows)
    weights = {"a": 1.0, "b": 1.0}
    with pytest.raises(InputError, match="for 2 streams: even with the cheapest row.* 400 MACs/s"):
        plan_frame_rows(table, weights, "399/s")
    assert plan_frame_rows(table, weights, "399/s", best_effort=True)["b"] == rows[0]
    # 0.1 three times is more than 0.3 in float64.
    tenth = ContinualTable([ContinualRow(Subnet(0.5, 4, 32), 100, 1.0, 3, 0, 50.0, 100.0)])
    assert len(plan_frame_rows(tenth, {**weights, "c": 1.0}, "0.3core")) == 3
    with pytest.raises(InputError, match="has no latency"):
        plan_frame_rows(table, weights, "1core")
    with pytest.raises(InputError, match="stream 'b': weight"):
        plan_frame_rows(table, {"a": 1.0, "b": 0.0}, "1G/s")
    with pytest.raises(InputError, match="at least one"):
        plan_frame_rows(table, {}, "1G/s")
    with pytest.raises(InputError, match="slowdown"):
        plan_frame_rows(table, weights, "1G/s", slowdown=0.0)
    with pytest.raises(InputError, match="multiply-adds a second"):
        plan_frame_rows(table, weights, "40ms")
