"""Budgets and costs as people write them: ``1.2G``, ``300M``, ``40ms``."""

import math
import re
from decimal import Decimal

from mutualvideo.errors import InputError

_NUMBER = r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?)"
_MACS = re.compile(_NUMBER + r"\s*(?P<unit>[KMGT]?)(?:MACs)?")
_MILLISECONDS = re.compile(_NUMBER + r"\s*ms")
_FACTORS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def parse_budget(text):
    """Reads a budget.

    Args:
        text: multiply-adds of one clip, ``1.2G``, ``300M``, ``5e8`` (units K, M, G, T,
            case-sensitive so that ``40m`` is not taken for 40 ms), or a latency, ``40ms``.

    Returns:
        ``("macs", int)`` or ``("ms", float)``, to be passed on as a keyword.

    Raises:
        InputError: if ``text`` has another form or is not above 0.
    """
    text = str(text).strip()
    if match := _MILLISECONDS.fullmatch(text):
        kind, value = "ms", float(match["number"])
    elif match := _MACS.fullmatch(text):
        # Decimal: 1.2G is 1,200,000,000 exactly.
        kind, value = "macs", int(Decimal(match["number"]) * _FACTORS[match["unit"]])
    else:
        raise InputError(
            f"budget {text!r}: expected multiply-adds such as 1.2G, 300M or 5e8, "
            "or a latency such as 40ms"
        )
    if value <= 0:
        raise InputError(f"budget {text!r}: must be above 0")
    return kind, value


def check_budget(macs=None, ms=None):
    """The one budget that is given, as ``("macs" | "ms", value)``.

    Raises:
        InputError: if not exactly one is given, or it is not a finite number above 0.
    """
    if (macs is None) == (ms is None):
        raise InputError("give exactly one budget: macs=... or ms=...")
    kind, value = ("macs", macs) if ms is None else ("ms", ms)
    try:
        good = not isinstance(value, bool) and math.isfinite(value) and value > 0
    except (TypeError, OverflowError):
        good = False
    if not good:
        raise InputError(f"budget {kind}={value!r}: expected a finite number above 0")
    return kind, value


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
    """A cost or budget for people: ``1.20G MACs`` or ``40.0 ms``."""
    return f"{format_macs(value)} MACs" if kind == "macs" else f"{value:.1f} ms"
