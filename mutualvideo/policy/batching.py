"""What batches take on this machine now, and how many clips are worth running at once."""

from __future__ import annotations

from collections import deque
from statistics import median

from mutualvideo.policy.slowdown import Slowdown
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable

# A larger batch must be this much faster per clip, since every clip waits for the whole batch.
_GAIN = 0.95
# Batches of one size that are measured before it is judged, after one that warms up; and those
# after which it is measured again.
_TRIES, _LASTS = 3, 500
# The speed that budgets are held against follows the slowdown when they are this far apart.
_BAND = 1.1
_OTHER = 9


class BatchLatency:
    """Learns from answered batches how long others will take.

    A batch of B clips is expected to take B times what one clip takes now (see
    :class:`~mutualvideo.policy.slowdown.Slowdown`), times a share that is learnt for every
    sub-network and size: below 1 where a call costs more than its arithmetic, above 1 where
    the activations of many clips no longer fit the cache. Sizes are 1, 2, 4... clips: for
    every shape kernels are chosen and memory is kept.

    Pure bookkeeping: no clock, no thread. Not thread-safe.

    Args:
        table: a ``QueryTable``; without latencies they are learnt from single clips.
        max_batch: most clips at once.

    Attributes:
        slowdown: the ``Slowdown`` estimate.
        speed: the slowdown, but steady while it stays within a tenth.
    """

    def __init__(self, table: QueryTable, max_batch: int) -> None:
        self.slowdown = Slowdown(table.rows)
        self.speed = 1.0
        self._max_batch = max_batch
        self._largest: dict[
            Subnet, int
        ] = {}  # of those sub-networks for which max_batch is too many
        self._shares: dict[tuple[Subnet, int], float] = {}
        self._tries: dict[tuple[Subnet, int], list[float]] = {}
        self._uses: dict[tuple[Subnet, int], int] = {}
        self._other = deque([0.0], maxlen=_OTHER)

    def expected_ms(self, subnet: Subnet, clips: int = 1) -> float:
        """Milliseconds from taking up a batch to its answers; 0 while nothing is known."""
        expected = self.slowdown.expected_ms(subnet)
        if expected is None:
            return 0.0
        share = self._shares.get((subnet, clips), 1.0)
        return clips * (expected * share + self.other_ms)

    @property
    def other_ms(self) -> float:
        """Milliseconds of one clip spent outside the network."""
        return median(self._other)

    def size(self, subnet: Subnet, available: int) -> int:
        """How many of ``available`` clips to run at once; a size not measured yet is tried."""
        if self.slowdown.factor is None:
            return 1
        best = clips = 1
        while (clips := 2 * clips) <= min(available, self._most(subnet)):
            share = self._shares.get((subnet, clips))
            if share is None:
                return clips
            if share <= _GAIN * self._shares.get((subnet, best), 1.0):
                best = clips
        return best

    def observe(self, subnet: Subnet, clips: int, ms: float, other_ms: float = 0.0) -> None:
        """Takes in that ``subnet`` answered a batch of ``clips``.

        Args:
            subnet: which sub-network.
            clips: how many.
            ms: milliseconds in the network.
            other_ms: milliseconds before and after.
        """
        self._other.append(other_ms / clips)
        if clips > 1 and not self._judged(subnet, clips, ms / clips):
            return
        self.slowdown.observe(subnet, ms / clips / self._shares.get((subnet, clips), 1.0))
        factor = self.slowdown.factor
        if factor is not None and not 1 / _BAND <= factor / self.speed <= _BAND:
            self.speed = 1.0 if 1 / _BAND <= factor <= _BAND else factor

    def failed(self, subnet: Subnet, clips: int) -> None:
        """Takes in that a batch of this size failed, for lack of memory for instance."""
        self._largest[subnet] = max(1, clips // 2)

    def _most(self, subnet: Subnet) -> int:
        return self._largest.get(subnet, self._max_batch)

    def _judged(self, subnet: Subnet, clips: int, ms: float) -> bool:
        """Whether the share of this size is known, so that its time tells the machine's speed."""
        key, expected = (subnet, clips), self.slowdown.expected_ms(subnet)
        if key in self._shares and key not in self._tries:
            self._uses[key] += 1
            if self._uses[key] <= _LASTS:
                return True
        if expected is None:
            return False
        # Until a new share is known the old one is what is expected.
        tries = self._tries.setdefault(key, [])
        tries.append(ms / expected)
        if len(tries) > _TRIES:
            self._shares[key] = median(tries[1:])
            self._uses[key] = 0
            del self._tries[key]
        return False
