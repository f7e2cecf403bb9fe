"""Memory that a process of training keeps for itself instead of asking for it anew each time."""

import ctypes
import sys

# Of mallopt(3), glibc's malloc.h: how many blocks may be mapped by themselves, and how much free
# memory at the end of the heap goes back.
_MMAP_MAX, _TRIM_THRESHOLD = -4, -1
_NEVER = 2**31 - 1


def keep_freed_memory():
    """Freed memory stays with this process, until it ends, for what it needs next.

    A training step on the CPU allocates the same hundreds of tensors each time. glibc maps large
    ones by themselves and gives them back, so the system zeroes them, page by page, in every step.
    Nothing that is computed changes; at its peak the process has as much memory as before.

    Returns:
        Whether the allocator could be told: that of Linux with glibc can.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        tell = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no such function
        return False
    return bool(tell(_MMAP_MAX, 0)) and bool(tell(_TRIM_THRESHOLD, _NEVER))
