"""How slow the machine is now, against what the query table promises."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median

from mutualvideo.subnet import Subnet
from mutualvideo.table.query import Row

# Clips the estimate is the median of, since the last change that was noticed.
WINDOW = 25
# Clips after which an estimate is worth coming back to when a slowdown ends, and how many.
_ESTABLISHED, _SPEEDS = 8, 4
# A change by this factor or more is noticed at once, instead of by the median's drift: after this
# many clips in a row. Two, so that a single spike is never taken for a slower machine; three the
# other way, because answering late is worse than answering cheaply for one more clip.
CHANGE = 1.35
SLOWER_AFTER, FASTER_AFTER = 2, 3
# Clips whose median stands for a row the table has no latency of.
_FIRST = 3


class Slowdown:
    """Learns from the latencies of answered clips by what factor the machine is slower.

    The factor is the median of observed / expected over the last WINDOW clips since the last
    change of at least CHANGE. A median shrugs off spikes and jitter; forgetting everything
    before a change makes it quick. When a slowdown ends, the ratios from before it are taken
    up again if the machine is about as fast as it was: they say more than three clips do.

    Args:
        rows: the ``Row`` objects that may answer. If every one has ``latency_ms``, that is
            what is expected. Otherwise latencies are learnt: a row is expected to take what
            it took when it first answered, and one that never answered as much longer than
            the nearest that did as it has more MACs. The factor is then relative to the
            first answers.

    Attributes:
        factor: 1.0 as expected, 2.0 twice as slow; ``None`` while nothing is expected yet.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._macs = {row.subnet: row.macs for row in rows}
        measured = all(row.latency_ms for row in rows)
        self._known = {row.subnet: row.latency_ms or 0.0 for row in rows} if measured else {}
        self._first: dict[Subnet, list[float]] = {subnet: [] for subnet in self._macs}
        # Ratios of the speeds known from before slowdowns, latest last.
        self._before: deque[list[float]] = deque(maxlen=_SPEEDS)
        # As many clips as a change takes: the first clip alone must not outweigh the table.
        self._ratios = deque([1.0] * SLOWER_AFTER if measured else [], maxlen=WINDOW)

    @property
    def factor(self) -> float | None:
        if self._ratios:
            return median(self._ratios)
        return 1.0 if self._known else None

    def expected_ms(self, subnet: Subnet) -> float | None:
        """Milliseconds of one clip as ``subnet`` on this machine now; ``None`` if unknown."""
        factor = self.factor
        return None if factor is None or not self._known else self._nominal_ms(subnet) * factor

    def observe(self, subnet: Subnet, ms: float) -> None:
        """Takes in that ``subnet`` answered a clip in ``ms`` milliseconds."""
        if subnet not in self._known:
            first = self._first[subnet]
            first.append(ms)
            if len(first) < _FIRST:
                return
            self._known[subnet] = median(first) / (self.factor or 1.0)
        self._ratios.append(ms / self._known[subnet])
        now = list(self._ratios)
        before, last = now[:-SLOWER_AFTER], now[-SLOWER_AFTER:]
        if len(before) >= SLOWER_AFTER and min(last) > median(before) * CHANGE:
            if len(before) >= _ESTABLISHED:
                known = self._same_speed(before)
                if known is not None:
                    self._before.remove(known)
                self._before.append(before)
            self._restart(last)
            return
        before, last = now[:-FASTER_AFTER], now[-FASTER_AFTER:]
        if len(before) >= FASTER_AFTER and max(last) * CHANGE < median(before):
            self._restart((self._same_speed(last) or []) + last)

    def _same_speed(self, ratios: list[float]) -> list[float] | None:
        """The ratios from before a slowdown with most nearly the median of these, or ``None``."""
        ratio = median(ratios)

        def apart(known: list[float]) -> float:
            return max(ratio / median(known), median(known) / ratio)

        nearest = min(self._before, key=apart, default=None)
        return nearest if nearest is not None and apart(nearest) < CHANGE else None

    def _restart(self, ratios: list[float]) -> None:
        self._ratios.clear()
        self._ratios.extend(ratios)

    def _nominal_ms(self, subnet: Subnet) -> float:
        if subnet in self._known:
            return self._known[subnet]
        macs = self._macs[subnet]
        nearest = min(self._known, key=lambda known: abs(self._macs[known] - macs))
        return self._known[nearest] * macs / self._macs[nearest]
