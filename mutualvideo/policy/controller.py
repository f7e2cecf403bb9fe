"""Holds a latency budget on a machine whose speed changes: moves along the Pareto rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median

from mutualvideo.budget import Budget, require_of_clips
from mutualvideo.errors import InputError
from mutualvideo.policy.slowdown import Slowdown
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable, Row

# A row is taken if it is expected to use this much of the budget, and left if it uses all of
# it. Between the two nothing moves: that band is the hysteresis.
TARGET = 0.9
# Clips in a row that a better row must have fitted before it is taken.
PATIENCE = 4
# Climbing to a row that is left again within this many clips was a mistake: the next climb to it
# waits _BACKOFF times as long, so that a row at the edge of the band is not tried all the time.
PROBATION = 30
_BACKOFF, _LONGEST = 4, 1024
_OTHER = 9


class Controller:
    """Which row should answer the next clip.

    Pure bookkeeping: no clock, no network, no thread. Tell it every answer with
    :meth:`observe` and switch to the row it returns; a switch may take effect later, since
    ``observe`` is told which sub-network answered. Not thread-safe: call it under the lock
    that orders the answers.

    A budget in MACs fixes the row. Under ``ms`` and ``fps`` the row is the most accurate
    Pareto row expected to take at most TARGET (0.9) of the budget, where expected is the
    table's latency times the slowdown observed (see
    :class:`~mutualvideo.policy.slowdown.Slowdown`; without latencies in the table they are
    learnt, starting with the cheapest row). Once the row in use is expected to take more than
    the whole budget a cheaper one is chosen at once; a better one only after it would have
    fitted PATIENCE clips in a row, more if climbing to it failed before. A machine that gets
    twice as slow is noticed after two clips, and after three when it is as fast as before.

    Args:
        table: a ``QueryTable``.

    Attributes:
        row: the ``Row`` to answer with; ``None`` before the first :meth:`set_budget`.
        ladder: the rows that may answer under this budget, cheapest first.
        late: whether even the cheapest row is expected to take longer than the budget.
        slowdown: the ``Slowdown`` estimate, kept when the budget changes.
    """

    def __init__(self, table: QueryTable) -> None:
        self.table = table
        self.slowdown = Slowdown(table.rows)
        self.row: Row | None = None
        self.late = False
        self._index = 0
        self._held: int | None = None
        # Of one clip, what is outside the network included if the budget was in fps; ``None``:
        # the row is fixed.
        self._limit_ms: float | None = None
        self._fps = False
        self.ladder: tuple[Row, ...] = ()
        self._other: deque[float] = deque(maxlen=_OTHER)

    def set_budget(
        self,
        budget: Budget | str | float | None = None,
        *,
        macs: float | None = None,
        ms: float | None = None,
        fps: float | None = None,
    ) -> Row:
        """Chooses a row under a new budget, at the speed last observed.

        Args:
            budget: a :class:`~mutualvideo.budget.Budget` or its text, or
            macs: multiply-adds of one clip, or
            ms: milliseconds of one clip in the network, what the table measures, or
            fps: clips answered per second, everything included: one clip and what
                ``observe`` is told as ``other_ms`` take at most 1000 / fps milliseconds. For
                a stream of V frames per second with a clip every S frames this is V / S.

        Returns:
            The ``Row`` to answer with.

        Raises:
            InputError: if not exactly one budget is given, or it is below the cheapest row of
                the table. (A machine that is slower than the table is no error: the cheapest
                row answers and :attr:`late` says so.)
        """
        given = Budget.of(budget, macs=macs, ms=ms, fps=fps)
        require_of_clips(given)
        limit = given.per_clip
        measured = all(row.latency_ms for row in self.table)
        if limit.unit == "macs":
            ladder = [self.table.best(limit)]
        else:
            if measured:
                self.table.best(limit)  # below the cheapest row of the table: an error
            ladder = ladder_of(self.table, "ms" if measured else "macs")
        self._begin(ladder, None if limit.unit == "macs" else limit.value, given.unit == "fps")
        if self._limit_ms is not None:
            self._index = self._highest(range(len(ladder)))
        return self._settle()

    def hold(self, subnet: Subnet | str) -> Row:
        """Fixes the row, whatever it takes; returns it. InputError if it is not in the table."""
        self._begin([self.table[subnet]], None)
        return self._settle()

    def _begin(self, ladder: list[Row], limit_ms: float | None, fps: bool = False) -> None:
        self.ladder, self._limit_ms, self._fps = tuple(ladder), limit_ms, fps
        self._patience = dict.fromkeys((row.subnet for row in ladder), PATIENCE)
        self._fits = dict.fromkeys(self._patience, 0)
        # A budget's first row was not climbed to, so leaving it is no mistake.
        self._lasted, self._held = PROBATION, None
        self._index = 0

    def observe(self, subnet: Subnet, ms: float, other_ms: float = 0.0) -> Row:
        """Learns from an answered clip.

        Args:
            subnet: which sub-network answered; any row of the table.
            ms: milliseconds of one clip in the network (of a batch: its share of each clip).
            other_ms: milliseconds of one clip outside it (cropping, copying); counts
                against a budget in ``fps``.

        Returns:
            The ``Row`` to answer the next clip with.

        Raises:
            InputError: if no budget was set, or ``subnet`` is not in the table.
        """
        if self.row is None:
            raise InputError("controller: call set_budget(macs=...), (ms=...) or (fps=...) first")
        self.slowdown.observe(self.table[subnet].subnet, ms)
        self._other.append(other_ms)
        if self._limit_ms is not None and self.slowdown.factor is not None:
            self._move(answered=subnet == self.row.subnet)
        return self.row

    def _move(self, answered: bool) -> None:
        if self._load(self._index) > 1:
            self._fall()
            return
        if not answered:
            # The switch is still on its way; patience starts with the first answer.
            return
        self._lasted += 1
        if self._lasted >= self._trial():
            self._patience[self.ladder[self._index].subnet] = PATIENCE
        ready = self._index
        for index in range(self._index + 1, len(self.ladder)):
            subnet = self.ladder[index].subnet
            fits = self._load(index) <= (1 if index == self._held else TARGET)
            self._fits[subnet] = self._fits[subnet] + 1 if fits else 0
            if self._fits[subnet] >= self._patience[subnet]:
                ready = index
        self._go(ready)

    def _fall(self) -> None:
        """To the best cheaper row that fits; the row left is remembered as held or a mistake."""
        subnet = self.ladder[self._index].subnet
        self._fits = dict.fromkeys(self._fits, 0)
        if self._lasted >= self._trial():
            self._held = self._index if self._held is None else max(self._held, self._index)
        else:
            self._patience[subnet] = min(self._patience[subnet] * _BACKOFF, _LONGEST)
            if self._held == self._index:
                self._held = None
        self._go(self._highest(range(self._index)))

    def _trial(self) -> int:
        """Clips that the row in use must last for having climbed to it to be no mistake."""
        return max(PROBATION, self._patience[self.ladder[self._index].subnet])

    def _go(self, index: int) -> None:
        if index != self._index:
            self._fits = dict.fromkeys(self._fits, 0)
            self._lasted = 0
        self._index = index
        self._settle()

    def _settle(self) -> Row:
        self.row = self.ladder[self._index]
        self.late = self._limit_ms is not None and self._index == 0 and self._load(0) > 1
        return self.row

    def _load(self, index: int) -> float:
        """Share of the budget that a row is expected to use; 0 while nothing is known."""
        expected = self.slowdown.expected_ms(self.ladder[index].subnet)
        if expected is None or self._limit_ms is None:
            return 0.0
        budget = self._limit_ms - (median(self._other) if self._fps and self._other else 0.0)
        return expected / budget if budget > 0 else float("inf")

    def _highest(self, indices: Iterable[int]) -> int:
        """The best row that fits; the cheapest if none does, or while no latency is known."""
        if self.slowdown.factor is None:
            return 0
        return max((index for index in indices if self._load(index) <= TARGET), default=0)


def ladder_of(table: QueryTable, cost: str) -> list[Row]:
    """The Pareto rows, cheapest first, each strictly better than the one before.

    In a table of costs alone more MACs count as better, as in ``QueryTable.best``.

    Raises:
        InputError: if the table has no rows, or some lack the cost or the accuracy.
    """
    if any(row.merit is not None for row in table):
        ranked = [(row.cost(cost), row.merit or 0.0, row) for row in table.pareto(cost)]
    else:
        ranked = [(row.cost(cost), float(row.macs), row) for row in table]
        if not ranked or any(each is None for each, _, _ in ranked):
            raise InputError("the query table has no latency in some rows: measure it")
    ladder: list[Row] = []
    best = -1.0
    for _, merit, row in sorted(ranked, key=lambda r: (r[0] or 0.0, -r[1], r[2].macs)):
        if merit > best:
            ladder.append(row)
            best = merit
    return ladder
