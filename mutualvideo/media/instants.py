"""The frames on screen at instants that are equally far apart."""

from collections.abc import Iterator

import numpy as np

# Of a time of a frame: sums of floats that should be equal are not.
_EPSILON_S = 1e-6


class Instants:
    """Says which frame of a source was on screen when.

    Args:
        apart_s: seconds from one instant to the next; the first is 0.
        live: whether instants are left out while nobody asks, as of a camera.

    Attributes:
        missed: how many were left out.
    """

    def __init__(self, apart_s: float, live: bool) -> None:
        self._apart_s, self._live = apart_s, live
        self._next_s, self._before = 0.0, None
        self.missed = 0

    def until(self, time_s: float, frame: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
        """(seconds, frame on screen) of the instants up to ``time_s`` that were not given yet.

        Args:
            time_s: when ``frame`` came, later than all before it.
            frame: of a source.
        """
        if self._live and time_s - self._next_s > self._apart_s:
            late = int((time_s - self._next_s) / self._apart_s)
            self.missed += late
            self._next_s += late * self._apart_s
        while self._next_s <= time_s + _EPSILON_S:
            here = self._before is None or self._next_s > time_s - _EPSILON_S
            yield self._next_s, frame if here else self._before
            self._next_s += self._apart_s
        self._before = frame
