"""What a visitor does: a position of the slider becomes a budget, a row, an answer.

The recogniser is everybody's, so nothing here switches it: every prediction names its
sub-network.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mutualvideo.budget import Budget, format_macs
from mutualvideo.errors import InputError
from mutualvideo.play.explained import overlaid
from mutualvideo.runtime import Prediction
from mutualvideo.runtime.explainer import Explainer
from mutualvideo.runtime.recognizer import AdaptiveRecognizer
from mutualvideo.table.query import QueryTable, Row
from mutualvideo.web.upload import Clip

UNITS = {"macs": "multiply-adds", "ms": "milliseconds", "fps": "clips per second"}
_REMEMBERED = 60


def in_words(budget: Budget) -> str:
    """A budget as a visitor reads it: ``at most 40.0 ms per clip``."""
    if budget.unit == "fps":
        return f"at least {budget.value:.1f} clips per second"
    if budget.unit == "macs":
        return f"at most {format_macs(budget.value)} multiply-adds per clip"
    return f"at most {budget} per clip"


class Scale:
    """A logarithmic slider, from 0 to 100, over what the rows of a table cost.

    The left end is the cheapest row for every unit but ``fps``, where it is the fewest clips
    per second: the dearest.

    Args:
        table: ``QueryTable``.
        unit: one of ``UNITS``.

    Raises:
        InputError: if the unit is unknown or the table lacks what it is about.
    """

    def __init__(self, table: QueryTable, unit: str) -> None:
        if unit not in UNITS:
            raise InputError(f"unit {unit!r}: expected one of {', '.join(UNITS)}")
        self.unit, self._table = unit, table
        found = [row.cost("macs" if unit == "macs" else "ms") for row in table]
        costs = [cost for cost in found if cost]
        if not costs or len(costs) < len(found):
            raise InputError(f"the query table cannot be used in {UNITS[unit]}: measure all rows")
        self._low, self._high = min(costs), max(costs)

    def at(self, position: Any) -> Budget:
        """The :class:`Budget` at a position.

        Raises:
            InputError: if it is not a number from 0 to 100.
        """
        if not isinstance(position, int | float) or not 0 <= position <= 100:
            raise InputError(f"position {position!r}: expected a number from 0 to 100")
        share = (100 - position if self.unit == "fps" else position) / 100
        cost = self._low ** (1 - share) * self._high**share
        # The ends are rows: a rounding error must not leave the cheapest one out.
        cost = min(max(cost, self._low), self._high)
        if self.unit == "fps":
            # Its reciprocal must not be below the cheapest row.
            return Budget("fps", 1000 / (cost * (1 + 1e-9)))
        return Budget(self.unit, round(cost) if self.unit == "macs" else cost)

    def choose(self, position: Any) -> tuple[Budget, Row]:
        """``(Budget, Row)``: the most accurate row within the budget at a position."""
        budget = self.at(position)
        return budget, self._table.best(budget)


def scales(table: QueryTable) -> dict[str, Scale]:
    """``{unit: Scale}`` of the units that every row of the table knows.

    Raises:
        InputError: if the table has no rows.
    """
    measured = all(row.latency_ms for row in table)
    return {unit: Scale(table, unit) for unit in (UNITS if measured else ("macs",))}


@dataclass
class Visitor:
    """One browser tab: the clip it looks at and its latest predictions, oldest first."""

    clip: Clip | None = None
    predictions: deque = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


@dataclass(frozen=True)
class Shown:
    """What there is to show.

    Args:
        clip: what was recognised.
        budget: what was granted.
        row: what the table chose, and ``prediction`` what answered.
        history: the latest predictions of the visitor, this one last.
        explained: uint8 (T, S, S, 3), the frames that the sub-network saw, with what spoke for its
            best class drawn over them; ``None``: that was not asked.
    """

    clip: Clip
    budget: Budget
    row: Row
    prediction: Prediction
    history: tuple
    explained: np.ndarray | None = None


def answer(
    recognizer: AdaptiveRecognizer,
    scale: Scale,
    visitor: Visitor,
    position: Any,
    explainer: Explainer | None = None,
) -> Shown:
    """Recognises a visitor's clip within the budget at a position of the slider.

    Args:
        recognizer: ``AdaptiveRecognizer``; its own budget is neither used nor changed.
        scale: :class:`Scale`.
        visitor: :class:`Visitor`; the prediction is remembered there.
        position: from 0 to 100.
        explainer: of the recogniser, where maps are wanted.

    Returns:
        :class:`Shown`.

    Raises:
        InputError: if there is no clip yet, the position is wrong, or the sub-network was never
            calibrated.
        PreparationError: if it cannot be prepared.
    """
    if visitor.clip is None:
        raise InputError("choose a sample or upload a clip first")
    budget, row = scale.choose(position)
    clip = visitor.clip
    prediction = recognizer.predict(clip.frames, subnet=row.subnet)
    visitor.predictions.append(prediction)
    drawn = None
    if explainer is not None:
        best = int(prediction.scores[0].argmax())
        drawn = overlaid(*explainer.maps(row.subnet, clip.frames, best))
    return Shown(clip, budget, row, prediction, tuple(visitor.predictions), drawn)
