"""Which rows may answer under a budget, at the machine's present speed."""

from __future__ import annotations

from collections.abc import Callable

from mutualvideo.budget import Budget, require_of_clips
from mutualvideo.errors import InputError
from mutualvideo.policy.batching import BatchLatency
from mutualvideo.policy.controller import ladder_of
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable, Row


class Steps:
    """The rows that a request may be answered with. Not thread-safe.

    Args:
        table: ``QueryTable``.
        check: ``check(subnet)``: raises InputError if it cannot answer.
        latency: a ``BatchLatency``; its speed is what budgets in time are held against.
    """

    def __init__(
        self, table: QueryTable, check: Callable[[Subnet], object], latency: BatchLatency
    ) -> None:
        self._table, self._check, self._latency = table, check, latency
        self._unit = "ms" if all(row.latency_ms for row in table) else "macs"
        self._ladder = [row for row in ladder_of(table, self._unit) if self._can_answer(row)]

    def cost(self, row: Row) -> float:
        """What rows are compared by: milliseconds, or MACs where the table has no latencies."""
        cost = row.cost(self._unit)
        assert cost is not None  # every row has one, see __init__
        return cost

    def within(self, budget: Budget) -> tuple[Row, ...]:
        """The best row within a budget and the Pareto rows below it; see ``Service.submit``.

        Returns:
            Tuple of ``Row``, cheapest first, the best at the end.

        Raises:
            InputError: if the budget is below the cheapest row, its best row cannot answer, or it
                is one of a continual form.
        """
        require_of_clips(budget)
        if budget.unit == "macs":
            return self._up_to(self._table.best(budget), budget.value)
        self._table.best(budget)  # below the cheapest row of the table: an error
        ms = budget.per_clip.value
        if budget.unit == "fps":
            ms -= self._latency.other_ms
        cheapest = min(self._table, key=self.cost)
        # At the present speed; a machine that is too slow for all rows gets the cheapest.
        now = Budget("ms", max(ms / self._latency.speed, self.cost(cheapest)))
        return self._up_to(self._table.best(now), float("inf"))

    def up_to(self, row: Row) -> tuple[Row, ...]:
        """``row`` and the Pareto rows that cost less in time and in multiply-adds.

        Raises:
            InputError: if it cannot answer.
        """
        return self._up_to(row, row.macs)

    def only(self, subnet: Subnet) -> tuple[Row, ...]:
        """The row of ``subnet`` alone.

        Raises:
            InputError: if it is not in the table or cannot answer.
        """
        row = self._table[subnet]
        self._check(row.subnet)
        return (row,)

    def _up_to(self, best: Row, macs: float) -> tuple[Row, ...]:
        self._check(best.subnet)
        cost = self.cost(best)
        cheaper = (row for row in self._ladder if self.cost(row) < cost and row.macs <= macs)
        return (*cheaper, best)

    def _can_answer(self, row: Row) -> bool:
        try:
            self._check(row.subnet)
        except InputError:
            return False
        return True
