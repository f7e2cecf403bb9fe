"""Budgets as people write them: ``1.2G``, ``300M``, ``40ms``, ``25fps``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from mutualvideo.errors import InputError

_NUMBER = r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?)"
_FACTORS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def format_macs(macs: float) -> str:
    """Multiply-adds with three significant digits and a unit: ``1.20G``, ``568M``, ``12.3K``."""
    macs = int(macs)
    for unit in "TGMK":
        # Rounded first, so that 999.6 M becomes 1.00G rather than 1000M.
        value = float(f"{macs / _FACTORS[unit]:.3g}")
        if value >= 1:
            decimals = max(0, 2 - int(math.log10(value)))
            return f"{value:.{decimals}f}{unit}"
    return str(macs)


def is_positive(value: Any) -> bool:
    """Whether ``value`` is a finite number above 0; text and booleans are not numbers."""
    try:
        return not isinstance(value, bool) and math.isfinite(value) and value > 0
    except (TypeError, OverflowError):
        return False


@dataclass(frozen=True)
class _Unit:
    """How a unit is read and printed; a new one (energy) is a line in ``_UNITS``."""

    pattern: re.Pattern[str]
    read: Callable[[re.Match[str]], float]
    show: Callable[[float], str]


def _read_macs(match: re.Match[str]) -> int:
    # Decimal: 1.2G is 1,200,000,000 exactly.
    return int(Decimal(match["number"]) * _FACTORS[match["unit"]])


def _read_number(match: re.Match[str]) -> float:
    return float(match["number"])


_UNITS = {
    "macs": _Unit(
        re.compile(_NUMBER + r"\s*(?P<unit>[KMGT]?)(?:\s*MACs)?"),
        _read_macs,
        lambda value: f"{format_macs(value)} MACs",
    ),
    "ms": _Unit(
        re.compile(_NUMBER + r"\s*ms"),
        _read_number,
        # Microseconds are not nothing.
        lambda value: f"{value:.1f} ms" if value >= 0.1 else f"{value:.2g} ms",
    ),
    "fps": _Unit(
        re.compile(_NUMBER + r"\s*fps"),
        _read_number,
        lambda value: f"{value:.4g} fps",
    ),
    "macs_per_s": _Unit(
        re.compile(_NUMBER + r"\s*(?P<unit>[KMGT]?)(?:\s*MACs)?/s"),
        _read_macs,
        lambda value: f"{format_macs(value)} MACs/s",
    ),
    "core": _Unit(
        re.compile(_NUMBER + r"\s*cores?"),
        _read_number,
        lambda value: f"{value:.3g} cores",
    ),
}
# Of one clip; the others are of a stream in continual form.
CLIP_UNITS = ("macs", "ms", "fps")


@dataclass(frozen=True)
class Budget:
    """What answering one clip may cost.

    Prints as ``1.20G MACs``, ``40.0 ms`` or ``25 fps``; :meth:`parse` reads that and more. Of two
    budgets the smaller one allows less: ``Budget.parse("50fps") < Budget.parse("40ms")``. Budgets
    of time and of multiply-adds cannot be compared.

    Args:
        unit: ``"macs"``, multiply-adds of one clip at most; ``"ms"``, milliseconds of one clip
            at most; ``"fps"``, clips per second at least. Of a stream in continual form
            ``"macs_per_s"``, multiply-adds a second, and ``"core"``, so many cores' time.
        value: how many.

    Raises:
        InputError: if there is no such unit, or the value is not a finite number above 0.
    """

    unit: str
    value: float

    def __post_init__(self) -> None:
        if self.unit not in _UNITS:
            raise InputError(f"budget in {self.unit!r}: expected one of {', '.join(_UNITS)}")
        if not is_positive(self.value):
            raise InputError(f"budget {self.unit}={self.value!r}: expected a finite number above 0")

    @classmethod
    def parse(cls, text: object) -> Budget:
        """Reads a budget.

        Args:
            text: multiply-adds of one clip, ``1.2G``, ``300M``, ``5e8`` (units K, M, G, T,
                case-sensitive so that ``40m`` is not taken for 40 ms), a latency, ``40ms``, or
                clips per second, ``25fps``; of a stream in continual form ``2G/s`` or ``0.3core``.

        Returns:
            The :class:`Budget`; multiply-adds are a whole number.

        Raises:
            InputError: if ``text`` has another form or is not above 0.
        """
        text = str(text).strip()
        for name, unit in _UNITS.items():
            if match := unit.pattern.fullmatch(text):
                value = unit.read(match)
                if value <= 0:
                    raise InputError(f"budget {text!r}: must be above 0")
                return cls(name, value)
        raise InputError(
            f"budget {text!r}: expected multiply-adds such as 1.2G, 300M or 5e8, "
            "a latency such as 40ms or clips per second such as 25fps (with --continual: 2G/s "
            "or 0.3core)"
        )

    @classmethod
    def of(
        cls,
        budget: Budget | str | float | None = None,
        *,
        macs: float | None = None,
        ms: float | None = None,
        fps: float | None = None,
    ) -> Budget:
        """The one budget that is given: what functions with a budget among their arguments call.

        Args:
            budget: a :class:`Budget`, text for :meth:`parse` or a number of multiply-adds; or
            macs: multiply-adds of a clip; or
            ms: milliseconds of a clip; or
            fps: clips a second.

        Raises:
            InputError: if not exactly one is given, or it is not a finite number above 0.
        """
        given: dict[str, Any] = {"budget": budget, "macs": macs, "ms": ms, "fps": fps}
        given = {unit: value for unit, value in given.items() if value is not None}
        if len(given) != 1:
            raise InputError("give exactly one budget: macs=..., ms=... or fps=...")
        ((unit, value),) = given.items()
        if isinstance(value, Budget):
            return value
        if unit == "budget" and isinstance(value, str):
            return cls.parse(value)
        return cls("macs" if unit == "budget" else unit, value)

    @property
    def per_clip(self) -> Budget:
        """The same as an upper bound on one clip: clips per second become milliseconds each."""
        return Budget("ms", 1000 / self.value) if self.unit == "fps" else self

    def __str__(self) -> str:
        return _UNITS[self.unit].show(self.value)

    def __lt__(self, other: Budget) -> bool:
        return self._bound(other) < other._bound(self)

    def __le__(self, other: Budget) -> bool:
        return self._bound(other) <= other._bound(self)

    def _bound(self, other: Budget) -> float:
        if not isinstance(other, Budget) or self.per_clip.unit != other.per_clip.unit:
            raise TypeError(f"a budget of {self} cannot be compared with {other}")
        return self.per_clip.value


def require_of_clips(budget: Budget) -> None:
    """Refuses a budget of a stream in continual form.

    Raises:
        InputError: for one.
    """
    if budget.unit not in CLIP_UNITS:
        raise InputError(
            f"budget of {budget}: is of a stream in continual form; that of clips is in "
            "multiply-adds, milliseconds or clips per second"
        )
