"""Which rows may answer under a budget, at the machine's present speed."""

from mutualvideo.budget import check_budget
from mutualvideo.errors import InputError
from mutualvideo.policy.controller import ladder_of


class Steps:
    """The rows that a request may be answered with. Not thread-safe.

    Args:
        recognizer: an ``AdaptiveRecognizer``.
        latency: a ``BatchLatency``; its speed is what budgets in time are held against.
    """

    def __init__(self, recognizer, latency):
        self._recognizer, self._latency = recognizer, latency
        self._measured = all(row.latency_ms for row in recognizer.table)
        ladder = ladder_of(recognizer.table, "ms" if self._measured else "macs")
        self._ladder = [row for row in ladder if self._calibrated(row)]

    def cost(self, row):
        """What rows are compared by: milliseconds, or MACs where the table has none."""
        return row.latency_ms if self._measured else row.macs

    def of(self, macs=None, ms=None, fps=None, subnet=None):
        """The best row within a budget and the Pareto rows below it; see ``Service.submit``.

        Returns:
            Tuple of ``Row``, cheapest first, the best at the end.

        Raises:
            InputError: if no budget is set, more than one is given, or it is below the cheapest
                row or its best row was never calibrated.
        """
        table, limit = self._recognizer.table, float("inf")
        if sum(value is not None for value in (macs, ms, fps, subnet)) > 1:
            raise InputError("give one budget: macs=..., ms=..., fps=... or subnet=...")
        if subnet is not None:
            best = table[subnet]
        elif macs is not None:
            best, limit = table.best(macs=macs), macs
        elif ms is not None:
            best = self._best_now(ms, ms)
        elif fps is not None:
            period_ms = 1000 / check_budget(ms=fps)[1]
            best = self._best_now(period_ms, period_ms - self._latency.other_ms)
        else:
            best = self._recognizer.current
            if best is None:
                raise InputError("give a budget, or call set_budget of the recogniser first")
            limit = best.macs
        self._recognizer.backend.check(best.subnet)
        if subnet is not None:
            return (best,)
        cost = self.cost(best)
        cheaper = (row for row in self._ladder if self.cost(row) < cost and row.macs <= limit)
        return (*cheaper, best)

    def _calibrated(self, row):
        try:
            self._recognizer.backend.check(row.subnet)
        except InputError:
            return False
        return True

    def _best_now(self, promised_ms, ms):
        """The best row that takes ``ms`` at the present speed; the cheapest if none does."""
        table = self._recognizer.table
        table.best(ms=promised_ms)  # not even the table promises it: an error
        cheapest = min(table, key=self.cost)
        return table.best(ms=max(ms / self._latency.speed, cheapest.latency_ms))
