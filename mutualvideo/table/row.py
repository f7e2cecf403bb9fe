"""One sub-network: what it costs and how good it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from mutualvideo.budget import Budget
from mutualvideo.errors import InputError, shown
from mutualvideo.subnet import Subnet

_WHOLE: dict[str, tuple[float, float]] = {
    "macs": (1, 10**18),
    "params": (0, 10**18),
    "macs_per_video": (1, 10**21),
}
# The column that a budget in this unit is held against.
COSTS = {"macs": "macs", "ms": "latency_ms"}
# Average precision of detectors, see mutualvideo.detection.coco_scores.
DETECTION = ("box_ap", "box_ap50", "mask_ap", "mask_ap50")
PERCENT = ("top1", "top5", "clip_top1", "clip_top5", "mean_class", "mean_ap", *DETECTION)
# What few tables have: files of others do not name them.
RARE = ("mean_class", "mean_ap", *DETECTION)
# Of BatchNorm: averaged over training clips at the row's size, or the full network's own.
STATISTICS = ("calibrated", "own")
TIMES = ("latency_ms", "latency_p90_ms", "batch_ms", "batch_p90_ms")
_REAL: dict[str, tuple[float, float]] = {
    **dict.fromkeys(PERCENT, (0, 100)),
    **dict.fromkeys(TIMES, (0, 10**9)),
}


@dataclass(frozen=True)
class Row:
    """One sub-network.

    Args:
        subnet: the configuration, the key of the row.
        macs: multiply-adds of one clip (convolutions and linear layers).
        params: parameters of the sub-network, a count.
        top1, top5: accuracy in percent, 0 to 100, of videos: the softmax averaged over their
            views; ``None`` where it was not evaluated.
        latency_ms, latency_p90_ms: milliseconds of one clip: the median, and what 90 % of calls
            stay below; ``None`` where it was not measured.
        clip_top1, clip_top5: the same of single views; ``None`` where it was not evaluated.
        macs_per_video: multiply-adds of all views of a video; ``None`` where their number is
            not known.
        statistics: which BatchNorm statistics it runs on, one of ``STATISTICS``.
        batch_ms, batch_p90_ms: the same as ``latency_ms`` of a whole call with several clips;
            the table's metadata says how many (``latency``).
        mean_class: percent, top-1 averaged over classes; ``None`` where they have equally many
            videos, so that it is ``top1``.
        mean_ap: percent, mean average precision of videos with several labels; then top-1 and
            top-5 say how often one of the labels has the highest score, or one of the five highest.
        box_ap, box_ap50, mask_ap, mask_ap50: percent, of detectors: COCO's average precision, over
            IoU 0.5 to 0.95 or at 0.5, of boxes and of masks; they have no top-1 and top-5.

    Raises:
        InputError: if a value has the wrong type or is out of range.
    """

    subnet: Subnet
    macs: int
    params: int
    top1: float | None = None
    top5: float | None = None
    latency_ms: float | None = None
    clip_top1: float | None = None
    clip_top5: float | None = None
    macs_per_video: int | None = None
    latency_p90_ms: float | None = None
    batch_ms: float | None = None
    batch_p90_ms: float | None = None
    statistics: str = "calibrated"
    mean_class: float | None = None
    mean_ap: float | None = None
    box_ap: float | None = None
    box_ap50: float | None = None
    mask_ap: float | None = None
    mask_ap50: float | None = None

    @property
    def merit(self) -> float | None:
        """What rows are compared by, in percent: ``box_ap`` or ``mean_ap``, else ``top1``."""
        if self.box_ap is not None:
            return self.box_ap
        return self.top1 if self.mean_ap is None else self.mean_ap

    def __post_init__(self) -> None:
        if not isinstance(self.subnet, Subnet):
            raise InputError(f"row {shown(self.subnet)}: subnet must be a Subnet")
        for name, limits in _WHOLE.items():
            if name != "macs_per_video" or self.macs_per_video is not None:
                self._check(name, int, "a whole number", limits)
        for name, limits in _REAL.items():
            if getattr(self, name) is not None:
                self._check(name, (int, float), "a number or null", limits)
        for name in TIMES:
            if getattr(self, name) == 0:
                raise InputError(f"row {self.subnet}: {name} must be above 0, or null")
        if self.statistics not in STATISTICS:
            raise InputError(
                f"row {self.subnet}: statistics must be one of {', '.join(STATISTICS)}, got "
                f"{shown(self.statistics)}"
            )

    def cost(self, unit: str) -> float | None:
        """What one clip costs in ``unit``, ``"macs"`` or ``"ms"``; ``None``: not measured.

        Raises:
            InputError: for another unit.
        """
        if unit not in COSTS:
            raise InputError(f"cost {unit!r}: expected {' or '.join(map(repr, COSTS))}")
        return getattr(self, COSTS[unit])

    def within(self, budget: Budget) -> bool:
        """Whether one clip costs no more than ``budget``; false where it was not measured."""
        limit = budget.per_clip
        cost = self.cost(limit.unit)
        return cost is not None and cost <= limit.value

    def _check(
        self, name: str, types: type | tuple[type, ...], wanted: str, limits: tuple[float, float]
    ) -> None:
        value: Any = getattr(self, name)
        low, high = limits
        # The comparison is also what refuses NaN.
        kind = isinstance(value, types) and not isinstance(value, bool)
        if not (kind and low <= value <= high):
            raise InputError(
                f"row {self.subnet}: {name} must be {wanted} from {low} to {high}, "
                f"got {shown(value)}"
            )


class Rows(Protocol):
    """A query table, for those whom it imports itself."""

    @property
    def metadata(self) -> dict[str, Any]: ...

    @property
    def rows(self) -> tuple[Row, ...]: ...

    def __iter__(self) -> Iterator[Row]: ...

    def marked(self) -> set[Subnet]: ...

    def has_own_statistics(self) -> bool: ...

    @property
    def merit_name(self) -> str: ...

    def pareto(self, cost: str = "macs") -> list[Row]: ...


def row_from_json(fields: Any) -> Row:
    """The ``Row`` of a JSON object; InputError naming what is wrong with it."""
    known = list(Row.__dataclass_fields__)
    if not isinstance(fields, dict):
        raise InputError("must be an object")
    for name in fields:
        if name not in known:
            raise InputError(f"unknown field {shown(name)}; the fields are {', '.join(known)}")
    for name in ("subnet", "macs", "params"):
        if name not in fields:
            raise InputError(f"field {name!r} is missing")
    return Row(**{**fields, "subnet": Subnet.parse(fields["subnet"])})
