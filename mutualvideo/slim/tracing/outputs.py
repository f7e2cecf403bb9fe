"""What a network returns, whatever it is wrapped in."""

import dataclasses
from collections import deque
from collections.abc import Iterator, KeysView, Mapping, Sequence, Set, ValuesView
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType

import torch

_COLLECTIONS = (Sequence, deque, Set, KeysView, ValuesView, Iterator)
_CODE = (torch.nn.Module, FunctionType, BuiltinFunctionType, MethodType)


def tensors_of(value):
    """All tensors in ``value``: in collections, mappings, dataclasses, objects."""
    return [tensor for _, tensor in described(value)]


def described(value, numbers=None):
    """(path, tensor) of every tensor in ``value``; paths like ``['low'][0]``. Uses iterators up.

    Args:
        value: anything.
        numbers: a dictionary that takes the numbers and texts, by path.
    """
    found = []
    _walk(value, "", found, {} if numbers is None else numbers, set())
    return found


def _walk(value, path, found, numbers, seen):
    if isinstance(value, torch.Tensor):
        found.append((path, value))
        return
    if isinstance(value, (str, bytes, int, float, complex)):
        numbers[path] = value
        return
    if value is None or isinstance(value, type):
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Mapping):
        for key, item in value.items():
            _walk(item, f"{path}[{key!r}]", found, numbers, seen)
    elif isinstance(value, _COLLECTIONS):
        for number, item in enumerate(value):
            _walk(item, f"{path}[{number}]", found, numbers, seen)
    elif isinstance(value, _CODE):
        return
    elif isinstance(value, partial):
        _walk((value.args, value.keywords), path, found, numbers, seen)
    elif dataclasses.is_dataclass(value):
        for item in dataclasses.fields(value):
            _walk(getattr(value, item.name, None), f"{path}.{item.name}", found, numbers, seen)
    for name, item in getattr(value, "__dict__", {}).items():
        _walk(item, f"{path}.{name}", found, numbers, seen)
    for kind in type(value).__mro__:
        for name in _slots(kind):
            _walk(getattr(value, name, None), f"{path}.{name}", found, numbers, seen)


def _slots(kind):
    """The attributes that ``__slots__`` names, as they are called from outside of the class."""
    slots = kind.__dict__.get("__slots__", ())
    for name in (slots,) if isinstance(slots, str) else slots:
        private = name.startswith("__") and not name.endswith("__")
        yield f"_{kind.__name__.lstrip('_')}{name}" if private else name
