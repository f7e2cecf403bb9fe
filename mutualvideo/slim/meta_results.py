"""What operations give on the meta device: worked out once for each shape of their arguments.

Working out shapes in Python is what a pass on the meta device spends its time on; a network
repeats its blocks, and is run again and again at the same width.
"""

from functools import cache

import torch
from torch.utils._python_dispatch import TorchDispatchMode

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
# What torch's own operations gave, of all networks; an operation that was registered by others
# may be registered anew.
_KEPT = 20_000
_known = {}


class Unknown(Exception):
    """A value that shapes do not tell all about."""


FRESH, IN_PLACE, ALIAS = "fresh", "in place", "alias"


@cache
def repeatable(func):
    """How a repeated call of ``func`` is answered; ``None``: only by FlopCounterMode.

    ``FRESH``: its results are new tensors. ``IN_PLACE``: its result is its first argument,
    whose shape it leaves alone. ``ALIAS``: it has to run, since its results share memory with
    its arguments, but costs what it cost.
    """
    if not isinstance(func, torch._ops.OpOverload):
        return None  # an operator that takes functions: torch.cond and the like
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
        return None  # made of other operations, and may return its argument
    schema = func._schema
    if not any(value.alias_info for value in (*schema.arguments, *schema.returns)):
        return FRESH
    writes = [a.alias_info is not None and a.alias_info.is_write for a in schema.arguments]
    if not any(writes):
        return ALIAS
    first_only = writes[0] and not any(writes[1:]) and len(schema.returns) == 1
    if first_only and func._schema.returns[0].alias_info and not schema.arguments[0].kwarg_only:
        return None if torch.Tag.inplace_view in func.tags else IN_PLACE
    return None


def key_of(func, args, kwargs):
    """What the results of a call on the meta device depend on, hashable; raises ``Unknown``."""
    return func, _key(args), _key(tuple(kwargs.items()))


def _key(value):
    """Hashable: all of ``value`` that results on the meta device can depend on."""
    kind = type(value)
    if kind in _PLAIN:
        if value.device.type != "meta" or value.layout is not torch.strided:
            raise Unknown
        return value.shape, value.stride(), value.dtype
    if kind is tuple or kind is list:
        return tuple([_key(item) for item in value])
    if kind in _NUMBERS:
        return kind, value  # 1, 1.0 and True are equal and not the same
    raise Unknown


def _described(value):
    kind = type(value)
    if kind is torch.Tensor and value.device.type == "meta" and value.layout is torch.strided:
        return torch.Tensor, value.shape, value.stride(), value.dtype
    if kind is tuple or kind is list:
        return kind, [_described(item) for item in value]
    if kind in _NUMBERS:
        return None, value
    raise Unknown


def _made(described):
    kind, what, *rest = described
    if kind is torch.Tensor:
        stride, dtype = rest
        return torch.empty_strided(what, stride, dtype=dtype, device="meta")
    if kind is None:
        return what
    return kind(_made(item) for item in what)


class Remembering(TorchDispatchMode):
    """Every operation inside goes through :func:`run_once`."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run_once(func, args, kwargs or {})


def run_once(func, args, kwargs):
    """``func(*args, **kwargs)`` under ``torch.no_grad()``.

    Where it was run before on the meta device, on arguments of the same shapes, what it gives is
    made from what is remembered; an operation in place is not run again at all.
    """
    how = repeatable(func)
    if how not in (FRESH, IN_PLACE) or func.namespace != "aten" or torch.is_grad_enabled():
        return func(*args, **kwargs)
    try:
        key = *key_of(func, args, kwargs), torch.get_default_dtype()
    except Unknown:
        return func(*args, **kwargs)
    if key in _known:
        return args[0] if how == IN_PLACE else _made(_known[key])
    out = func(*args, **kwargs)
    try:
        result = _described(out) if how == FRESH else None
    except Unknown:
        return out
    if len(_known) >= _KEPT:
        _known.clear()
    _known[key] = result
    return out
