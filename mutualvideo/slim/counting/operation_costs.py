"""Counts what a pass on the meta device costs, each distinct operation once.

Working out shapes in Python is what such a pass spends its time on, and a network repeats
its blocks. An operation whose arguments have the shapes of an earlier one's is therefore
not run again: its result is made from what is remembered, and it costs what that one cost.
Every number is ``torch.utils.flop_counter``'s own.
"""

from functools import cache

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from mutualvideo.slim.meta_results import (
    FRESH,
    IN_PLACE,
    Unknown,
    described_result,
    key_of,
    made,
    repeatable,
    run_once,
)

# Operations remembered; a network has a few hundred that differ.
_KEPT = 10_000


class MetaFlops(TorchDispatchMode):
    """Counts floating point operations of what runs inside it, under ``torch.no_grad()``.

    What is remembered lives as long as the object, which may be entered again and again.

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
        how = repeatable(func)
        try:
            key = how and key_of(func, args, kwargs)
            known = self._known.get(key) if key else None
        except Unknown:
            key = known = None
        if known is not None:
            flops, results = known
            self.total += flops
            if how == IN_PLACE:
                return args[0]
            return made(results) if how == FRESH else func(*args, **kwargs)
        if how and _costs_nothing(func):
            flops, out = 0, run_once(func, args, kwargs)
        else:
            with FlopCounterMode(display=False) as counter:
                out = func(*args, **kwargs)
            flops = counter.get_total_flops()
        self.total += flops
        if key:
            try:
                results = described_result(out) if how == FRESH else None
            except Unknown:
                return out
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = flops, results
        return out


@cache
def _costs_nothing(func):
    """Whether FlopCounterMode neither counts it, nor takes it apart into what it counts."""
    composite = torch._C.DispatchKey.CompositeImplicitAutograd
    return func.overloadpacket not in flop_registry and not func.has_kernel_for_dispatch_key(
        composite
    )
