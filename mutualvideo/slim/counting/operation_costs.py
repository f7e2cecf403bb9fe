"""Counts what a pass on the meta device costs, each distinct operation once.

Working out shapes in Python is what such a pass spends its time on, and a network repeats
its blocks. An operation whose arguments have the shapes of an earlier one's is therefore
not run again: its result is made from what is remembered, and it costs what that one cost.
Every number is ``torch.utils.flop_counter``'s own.
"""

from functools import cache

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

# Operations remembered; a network has a few hundred that differ.
_KEPT = 10_000

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_NUMBERS = (
    int,
    float,
    bool,
    str,
    type(None),
    torch.dtype,
    torch.device,
    torch.layout,
    torch.memory_format,
)


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
        how = _repeatable(func)
        try:
            key = how and (func, _key(args), _key(tuple(kwargs.items())))
            known = self._known.get(key) if key else None
        except _Unknown:
            key = known = None
        if known is not None:
            flops, results = known
            self.total += flops
            if how == _IN_PLACE:
                return args[0]
            return _make(results) if how == _FRESH else func(*args, **kwargs)
        with FlopCounterMode(display=False) as counter:
            out = func(*args, **kwargs)
        flops = counter.get_total_flops()
        self.total += flops
        if key:
            try:
                results = _describe(out) if how == _FRESH else None
            except _Unknown:
                return out
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = flops, results
        return out


class _Unknown(Exception):
    """A value that shapes do not tell all about."""


_FRESH, _IN_PLACE, _ALIAS = "fresh", "in place", "alias"


@cache
def _repeatable(func):
    """How a repeated call of ``func`` is answered; ``None``: only by FlopCounterMode.

    ``_FRESH``: its results are new tensors. ``_IN_PLACE``: its result is its first argument,
    whose shape it leaves alone. ``_ALIAS``: it has to run, since its results share memory with
    its arguments, but costs what it cost.
    """
    if not isinstance(func, torch._ops.OpOverload):
        return None  # an operator that takes functions: torch.cond and the like
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
        return None  # made of other operations, and may return its argument
    schema = func._schema
    if not any(value.alias_info for value in (*schema.arguments, *schema.returns)):
        return _FRESH
    writes = [a.alias_info is not None and a.alias_info.is_write for a in schema.arguments]
    if not any(writes):
        return _ALIAS
    first_only = writes[0] and not any(writes[1:]) and len(schema.returns) == 1
    if first_only and func._schema.returns[0].alias_info and not schema.arguments[0].kwarg_only:
        return None if torch.Tag.inplace_view in func.tags else _IN_PLACE
    return None


def _key(value):
    """Hashable: all of ``value`` that results on the meta device can depend on."""
    kind = type(value)
    if kind in _PLAIN:
        if value.device.type != "meta" or value.layout is not torch.strided:
            raise _Unknown
        return value.shape, value.stride(), value.dtype
    if kind is tuple or kind is list:
        return tuple([_key(item) for item in value])
    if kind in _NUMBERS:
        return kind, value  # 1, 1.0 and True are equal and not the same
    raise _Unknown


def _describe(value):
    kind = type(value)
    if kind is torch.Tensor and value.device.type == "meta" and value.layout is torch.strided:
        return torch.Tensor, value.shape, value.stride(), value.dtype
    if kind is tuple or kind is list:
        return kind, [_describe(item) for item in value]
    if kind in _NUMBERS:
        return None, value
    raise _Unknown


def _make(described):
    kind, what, *rest = described
    if kind is torch.Tensor:
        stride, dtype = rest
        return torch.empty_strided(what, stride, dtype=dtype, device="meta")
    if kind is None:
        return what
    return kind(_make(item) for item in what)
