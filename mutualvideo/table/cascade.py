"""Confidence cascades: the cheapest sub-network answers, dearer ones only where it is unsure.

Beyond the MutualNet papers, after the early-exit cascades of Wang et al. (IDK Cascades, arXiv
1706.00885). The sub-networks of one slimmable network make the stages: no further weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mutualvideo.budget import Budget
from mutualvideo.documents import read_document
from mutualvideo.errors import InputError, shown
from mutualvideo.files import StrPath, atomic_path
from mutualvideo.subnet import Subnet

FORMAT = "mutualvideo-cascades"
VERSION = 1


def confidence(scores: np.ndarray) -> np.ndarray:
    """How sure softmax ``scores`` (..., classes) are: the highest of them, (...)."""
    return scores.max(-1)


@dataclass(frozen=True)
class Cascade:
    """Sub-networks that are asked one after the other until one of them is sure.

    Args:
        stages: which sub-networks, first asked first.
        thresholds: one for each stage but the last: if the highest softmax score of the
            stage's answer is at least this, it is the answer.

    Raises:
        InputError: if the counts do not fit or a threshold is not between 0 and 1.
    """

    stages: tuple[Subnet, ...]
    thresholds: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(self.stages))
        object.__setattr__(self, "thresholds", tuple(float(t) for t in self.thresholds))
        names = " > ".join(str(stage) for stage in self.stages)
        if not self.stages or len(set(self.stages)) < len(self.stages):
            raise InputError(f"cascade {names}: expected at least one stage, none of them twice")
        if len(self.thresholds) != len(self.stages) - 1:
            raise InputError(
                f"cascade {names}: {len(self.stages)} stages need {len(self.stages) - 1} "
                f"thresholds, got {len(self.thresholds)}"
            )
        if not all(0 <= threshold <= 1 for threshold in self.thresholds):
            raise InputError(f"cascade {names}: thresholds must be from 0 to 1, {self.thresholds}")

    def __str__(self) -> str:
        parts = [str(self.stages[0])]
        for threshold, stage in zip(self.thresholds, self.stages[1:], strict=True):
            parts.append(f"(below {threshold:.2f}) {stage}")
        return " ".join(parts)

    def choose(self, sure: np.ndarray) -> np.ndarray:
        """Which stage answers each of many clips, from how sure all stages are.

        Args:
            sure: float array (stages, clips), see :func:`confidence`.

        Returns:
            int64 array (clips,): the stage's index; it and all before it have run.
        """
        answered = np.full(sure.shape[1], len(self.stages) - 1)
        for stage in reversed(range(len(self.thresholds))):
            answered[sure[stage] >= self.thresholds[stage]] = stage
        return answered


def run_macs(macs: Any, answered: np.ndarray) -> np.ndarray:
    """Multiply-adds of each video: of the stage that answered and of all before it.

    Args:
        macs: multiply-adds of each stage, in order.
        answered: int array (videos,) of stage indices.

    Returns:
        float64 array (videos,).
    """
    return np.cumsum(np.asarray(macs, np.float64))[answered]


@dataclass(frozen=True)
class CascadePoint:
    """A cascade for one budget, beside the best single row for the same budget.

    The figures are measured on videos that the choice had not seen (cross-fitting): they hold
    for what choosing under this budget leads to. ``cascade`` and ``static`` themselves are
    then chosen on all videos.

    Args:
        budget_macs: multiply-adds of a clip that are allowed on average.
        cascade: the best cascade; of one stage where no longer one was better.
        static: the best single sub-network.
        avg_macs, top1: multiply-adds of a clip on average and percent, of the cascade.
        static_macs, static_top1: the same of the single sub-network.
        gain_error: standard error of ``top1 - static_top1`` over videos, percentage points.
    """

    budget_macs: int
    cascade: Cascade
    static: Subnet
    avg_macs: float
    top1: float
    static_macs: float
    static_top1: float
    gain_error: float

    @property
    def wins(self) -> bool:
        """Whether the cascade's gain is more than twice its standard error: not an accident."""
        return self.top1 - self.static_top1 > 2 * self.gain_error


class CascadeCurve:
    """Cascades for growing budgets: what stands beside a query table.

    Args:
        points: ``CascadePoint`` objects, in any order.
        metadata: what holds for the whole curve, as JSON values.

    Raises:
        InputError: if there is no point, or a budget comes twice.
    """

    def __init__(
        self, points: Iterable[CascadePoint], metadata: Mapping[str, Any] | None = None
    ) -> None:
        self.points = tuple(sorted(points, key=lambda point: point.budget_macs))
        self.metadata = dict(metadata or {})
        budgets = [point.budget_macs for point in self.points]
        if not budgets or len(set(budgets)) < len(budgets):
            raise InputError("cascades: expected at least one point, no budget twice")

    def best(
        self, budget: Budget | str | float | None = None, *, macs: float | None = None
    ) -> Cascade:
        """The cascade for an average budget.

        Args:
            budget: a :class:`~mutualvideo.budget.Budget` of multiply-adds, or
            macs: their number, of one clip on average. The dearest clip costs all stages: where
                every clip has a deadline, take ``QueryTable.best``.

        Returns:
            The ``Cascade`` of the dearest point within the budget if it wins there (see
            ``CascadePoint.wins``), else one of a single stage, the best single sub-network.

        Raises:
            InputError: if the budget is not one of multiply-adds, or below the cheapest point.
        """
        budget = Budget.of(budget, macs=macs)
        if budget.unit != "macs":
            raise InputError(f"budget of {budget}: a cascade's is one of multiply-adds")
        inside = [point for point in self.points if point.budget_macs <= budget.value]
        if not inside:
            raise InputError(
                f"budget of {budget} is below the cheapest cascade, "
                f"{Budget('macs', self.points[0].budget_macs)}"
            )
        point = inside[-1]
        return point.cascade if point.wins else Cascade((point.static,), ())

    def save_json(self, path: StrPath) -> None:
        """Writes the curve, atomically.

        Raises:
            InputError: if the file cannot be written or metadata is not JSON.
        """
        points = []
        for point in self.points:
            fields = {**asdict(point), "static": str(point.static)}
            fields["cascade"] = {
                "stages": [str(stage) for stage in point.cascade.stages],
                "thresholds": list(point.cascade.thresholds),
            }
            points.append(fields)
        content = {"format": FORMAT, "version": VERSION, "metadata": self.metadata}
        try:
            text = json.dumps({**content, "points": points}, indent=1, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: metadata cannot be written as JSON ({error})") from error
        with atomic_path(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load_json(cls, path: StrPath) -> CascadeCurve:
        """Reads a curve that ``save_json`` wrote.

        Raises:
            InputError: if the file is missing or no such curve, or a point is wrong; file
                and point are named.
        """
        content = read_document(path, "a file of cascades", FORMAT, VERSION)
        points, metadata = content.get("points"), content.get("metadata")
        if not isinstance(points, list) or not isinstance(metadata, dict):
            raise InputError(f"{path}: points must be a list and metadata an object")
        read = []
        for number, fields in enumerate(points, 1):
            try:
                read.append(_point_from_json(fields))
            except InputError as error:
                raise InputError(f"{path}: point {number}: {error}") from None
        try:
            return cls(read, metadata)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None


def _point_from_json(fields: Any) -> CascadePoint:
    known = list(CascadePoint.__dataclass_fields__)
    if not isinstance(fields, dict) or sorted(fields) != sorted(known):
        raise InputError(f"expected exactly the fields {', '.join(known)}")
    chain = fields["cascade"]
    if not isinstance(chain, dict) or not all(
        isinstance(chain.get(key), list) for key in ("stages", "thresholds")
    ):
        raise InputError("cascade must have the lists stages and thresholds")
    numbers = {key: fields[key] for key in known if key not in ("cascade", "static")}
    for key, value in [*numbers.items(), *(("thresholds", t) for t in chain["thresholds"])]:
        # The comparison is also what refuses NaN.
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e18:
            raise InputError(f"{key} must be a number of at least 0, got {shown(value)}")
    stages = tuple(Subnet.parse(name) for name in chain["stages"])
    cascade = Cascade(stages, chain["thresholds"])
    return CascadePoint(**{**fields, "cascade": cascade, "static": Subnet.parse(fields["static"])})
