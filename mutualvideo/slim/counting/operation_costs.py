"""Counts what a pass on the meta device costs, each distinct operation once.

An operation whose arguments have the shapes of an earlier one's costs what that one cost, and its
result is made from what is remembered (:mod:`mutualvideo.slim.meta_results`). Every number is
``torch.utils.flop_counter``'s own.
"""

from functools import cache

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from mutualvideo.slim.meta_results import Unknown, key_of, repeatable, run_once

# Operations remembered; a network has a few hundred that differ.
_KEPT = 10_000


class MetaFlops(TorchDispatchMode):
    """Counts floating point operations of what runs inside it, under ``torch.no_grad()``.

    What operations cost is remembered as long as the object lives, which may be entered again and
    again.

    Attributes:
        total: what ``FlopCounterMode.get_total_flops()`` would be.
    """

    supports_higher_order_operators = True

    def __init__(self):
        super().__init__()
        self.total = 0
        self._known = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        repeats = repeatable(func)
        if repeats and _costs_nothing(func):
            return run_once(func, args, kwargs)
        try:
            key = repeats and key_of(func, args, kwargs)
        except Unknown:
            key = None
        if key in self._known:
            self.total += self._known[key]
            return run_once(func, args, kwargs)
        with FlopCounterMode(display=False) as counter:
            out = func(*args, **kwargs)
        self.total += counter.get_total_flops()
        if key:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = counter.get_total_flops()
        return out


@cache
def _costs_nothing(func):
    """Whether FlopCounterMode neither counts it, nor takes it apart into what it counts."""
    composite = torch._C.DispatchKey.CompositeImplicitAutograd
    return func.overloadpacket not in flop_registry and not func.has_kernel_for_dispatch_key(
        composite
    )
