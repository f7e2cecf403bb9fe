"""Which budget holds when."""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path

from mutualvideo.budget import Budget
from mutualvideo.errors import InputError


class BudgetScript:
    """Budgets over time.

    Args:
        entries: ``[(start_s, Budget), ...]``: each budget holds from ``start_s`` seconds on.
            The first starts at 0, and the starts increase.
    """

    def __init__(self, entries: Iterable[tuple[float, Budget]]) -> None:
        self.entries = list(entries)
        self._starts = [start_s for start_s, _ in self.entries]

    @classmethod
    def equal_parts(
        cls, budgets: Sequence[Budget], duration_s: float | None = None
    ) -> BudgetScript:
        """Each budget for an equal part of a video of ``duration_s`` seconds.

        Args:
            budgets: :class:`~mutualvideo.budget.Budget` objects.
            duration_s: ``None``: unknown, as of a live source.

        Raises:
            InputError: without a budget, or for several without a duration.
        """
        if not budgets:
            raise InputError("give at least one budget")
        if len(budgets) > 1 and duration_s is None:
            raise InputError("a live source has no equal parts: give one budget or a budget script")
        part_s = (duration_s or 0) / len(budgets)
        return cls([(number * part_s, budget) for number, budget in enumerate(budgets)])

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> BudgetScript:
        """Reads lines ``SECONDS BUDGET``, as in ``2.5 800M`` or ``5 40ms``; ``#`` comments.

        Raises:
            InputError: names file and line if one is malformed, the first does not begin at
                0 or times do not increase; or the file, if it is empty or cannot be read.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise InputError(f"{path}: cannot be read ({reason})") from error
        entries: list[tuple[float, Budget]] = []
        for number, line in enumerate(lines, 1):
            words = line.partition("#")[0].split(maxsplit=1)
            if not words:
                continue
            try:
                entries.append(_entry(words, entries[-1][0] if entries else None))
            except InputError as error:
                raise InputError(f"{path}:{number}: {error}") from error
        if not entries:
            raise InputError(f"{path}: holds no line such as '0 1.2G': SECONDS BUDGET")
        return cls(entries)

    @property
    def budgets(self) -> list[Budget]:
        """The different budgets, in the order in which they first hold."""
        return list(dict.fromkeys(budget for _, budget in self.entries))

    def index(self, time_s: float) -> int:
        """Number of the entry that holds at ``time_s``."""
        return max(bisect_right(self._starts, time_s + 1e-9) - 1, 0)

    def next_change(self, time_s: float) -> float:
        """When the next entry after ``time_s`` begins; infinity after the last."""
        later = self.index(time_s) + 1
        return self._starts[later] if later < len(self._starts) else math.inf


def _entry(words: list[str], before_s: float | None) -> tuple[float, Budget]:
    try:
        start_s = float(words[0])
    except ValueError:
        start_s = math.nan
    if not (math.isfinite(start_s) and start_s >= 0) or len(words) < 2:
        raise InputError(f"{' '.join(words)!r}: expected SECONDS BUDGET, such as '2.5 800M'")
    if before_s is None and start_s != 0:
        raise InputError(f"begins at {words[0]} s: the first line must begin at 0")
    if before_s is not None and start_s <= before_s:
        raise InputError(f"begins at {words[0]} s, not after the line before ({before_s:g} s)")
    return start_s, Budget.parse(words[1])
