"""Which row each of several streams in continual form gets, under one budget of a second."""

from __future__ import annotations

from collections.abc import Mapping

from mutualvideo.budget import Budget, is_positive
from mutualvideo.errors import InputError
from mutualvideo.policy.stream_plan import climb
from mutualvideo.table.continual_table import ContinualRow, ContinualTable

# A share of the budget: costs are sums of fractions.
_SLACK = 1e-9


def plan_frame_rows(
    table: ContinualTable,
    weights: Mapping[str, float],
    budget: Budget | str,
    slowdown: float = 1.0,
    best_effort: bool = False,
) -> dict[str, ContinualRow]:
    """The row of every stream, so that the weighted sum of accuracies is large.

    All begin with the cheapest row; the step to a better one that gains most accuracy for its
    cost is taken as long as one fits, as :func:`~mutualvideo.policy.stream_plan.plan_rows` does.

    Args:
        table: rows in continual form.
        weights: ``{stream: how much its accuracy counts}``, at least one, above 0.
        budget: what all streams together may cost a second: ``"2G/s"`` or ``"0.9core"``.
        slowdown: factor on the table's latencies; multiply-adds stay as they are.
        best_effort: give every stream the cheapest row where nothing fits, instead of raising an
            error.

    Returns:
        ``{stream: row}``.

    Raises:
        InputError: if nothing fits, saying by how much; if the table has no latencies for a budget
            of time; or for a weight or a factor that is not a finite number above 0.
    """
    if not weights:
        raise InputError("streams: expected at least one name")
    for name, weight in weights.items():
        if not is_positive(weight):
            raise InputError(f"stream {name!r}: weight must be a number above 0, got {weight!r}")
    if not is_positive(slowdown):
        raise InputError(f"slowdown {slowdown!r}: must be a number above 0")
    limit = Budget.of(budget)
    ladder = _ladder(table, limit)
    factor = slowdown if limit.unit == "core" else 1.0
    costs = [(row.cost(limit.unit) or 0.0) * factor for row in ladder]
    least = len(weights) * costs[0]
    indices = [0] * len(weights)
    if least <= limit.value * (1 + _SLACK):
        merits = [_merit(table, row) for row in ladder]
        gains = [[weight * merit for merit in merits] for weight in weights.values()]
        indices = climb([1.0] * len(weights), costs, gains, limit.value)
    elif not best_effort:
        raise InputError(
            f"budget of {limit} for {len(weights)} streams: even with the cheapest row, "
            f"{ladder[0]}, they need {Budget(limit.unit, least)}"
        )
    return {name: ladder[index] for name, index in zip(weights, indices, strict=True)}


def _ladder(table: ContinualTable, limit: Budget) -> list[ContinualRow]:
    """Rows by cost, the cheapest first, each better than all before it."""
    costs = {row: row.cost(limit.unit) for row in table}
    if not costs:
        raise InputError("the continual table has no rows")
    for row, cost in costs.items():
        if cost is None:
            raise InputError(f"row {row} has no latency: make the table with TABLE.LATENCY")
    ladder: list[ContinualRow] = []
    for row in sorted(table, key=lambda row: (costs[row] or 0.0, -_merit(table, row))):
        if not ladder or _merit(table, row) > _merit(table, ladder[-1]):
            ladder.append(row)
    return ladder


def _merit(table: ContinualTable, row: ContinualRow) -> float:
    """Its accuracy; where not all rows were evaluated, the dearest counts as the best."""
    if all(one.top1 is not None for one in table):
        return row.top1 or 0.0
    return row.macs * row.frames_per_s
