"""Budgets and costs as people write them: ``1.2G``, ``300M``, ``40ms``, ``25fps``."""

import math
import re
from decimal import Decimal

from mutualvideo.errors import InputError

_NUMBER = r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?)"
_MACS = re.compile(_NUMBER + r"\s*(?P<unit>[KMGT]?)(?:MACs)?")
_REAL = re.compile(_NUMBER + r"\s*(?P<kind>ms|fps)")
_FACTORS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def parse_budget(text):
    """Reads a budget.

    Args:
        text: multiply-adds of one clip, ``1.2G``, ``300M``, ``5e8`` (units K, M, G, T,
            case-sensitive so that ``40m`` is not taken for 40 ms), a latency, ``40ms``, or
            clips a second, ``25fps``.

    Returns:
        ``("macs", int)``, ``("ms", float)`` or ``("fps", float)``, to be passed on as a
        keyword.

    Raises:
        InputError: if ``text`` has another form or is not above 0.
    """
    text = str(text).strip()
    if match := _REAL.fullmatch(text):
        kind, value = match["kind"], float(match["number"])
    elif match := _MACS.fullmatch(text):
        # Decimal: 1.2G is 1,200,000,000 exactly.
        kind, value = "macs", int(Decimal(match["number"]) * _FACTORS[match["unit"]])
    else:
        raise InputError(
            f"budget {text!r}: expected multiply-adds such as 1.2G, 300M or 5e8, "
            "a latency such as 40ms or clips a second such as 25fps"
        )
    if value <= 0:
        raise InputError(f"budget {text!r}: must be above 0")
    return kind, value


def check_budget(macs=None, ms=None, fps=None):
    """The one budget that is given, as ``("macs" | "ms" | "fps", value)``.

    Raises:
        InputError: if not exactly one is given, or it is not a finite number above 0.
    """
    given = {"macs": macs, "ms": ms, "fps": fps}
    given = [(kind, value) for kind, value in given.items() if value is not None]
    if len(given) != 1:
        raise InputError("give exactly one budget: macs=..., ms=... or fps=...")
    ((kind, value),) = given
    try:
        good = not isinstance(value, bool) and math.isfinite(value) and value > 0
    except (TypeError, OverflowError):
        good = False
    if not good:
        raise InputError(f"budget {kind}={value!r}: expected a finite number above 0")
    return kind, value


def as_cost(kind, value):
    """A budget as what one clip may cost: clips a second become milliseconds each."""
    return ("ms", 1000 / value) if kind == "fps" else (kind, value)


def format_macs(macs):
    """Multiply-adds with three significant digits and a unit: ``1.20G``, ``568M``, ``12.3K``."""
    macs = int(macs)
    for unit in "TGMK":
        # Rounded first, so that 999.6 M becomes 1.00G rather than 1000M.
        value = float(f"{macs / _FACTORS[unit]:.3g}")
        if value >= 1:
            decimals = max(0, 2 - int(math.log10(value)))
            return f"{value:.{decimals}f}{unit}"
    return str(macs)


def format_cost(kind, value):
    """A cost or budget for people: ``1.20G MACs``, ``40.0 ms`` or ``25 fps``."""
    if kind == "macs":
        return f"{format_macs(value)} MACs"
    return f"{value:.1f} ms" if kind == "ms" else f"{value:.4g} fps"
