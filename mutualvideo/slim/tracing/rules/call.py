"""One of torch's operations as it runs: what every rule gets."""

from functools import cached_property

import torch
from torch.utils._pytree import tree_leaves

from mutualvideo.slim.tracing.rules.operation_names import FILLS, MOVES


class Unfollowed(Exception):
    """Why the labels of an operation's result are not known."""


class Call:
    """One operation that runs: its name without a final underscore, arguments and results."""

    def __init__(self, flow, func, args, kwargs):
        self.flow, self.func, self.args, self.kwargs = flow, func, args, kwargs
        self.name = func.overloadpacket.__name__.rstrip("_") or func.overloadpacket.__name__
        self.tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        # Before it runs: an operation in place may change both.
        self.shapes = [tuple(t.shape) for t in self.tensors]
        self.shadows = [flow.get(t) for t in self.tensors]
        self.results = []

    def arg(self, name, default=None):
        """The argument that the schema calls ``name``."""
        for place, argument in enumerate(self.func._schema.arguments):
            if argument.name == name:
                if place < len(self.args):
                    return self.args[place]
                return self.kwargs.get(name, argument.default_value)
        return default

    def shadow(self, tensor):
        place = next(i for i, t in enumerate(self.tensors) if t is tensor)
        return self.shadows[place]

    @cached_property
    def written(self):
        """The tensor that the operation writes into, if there is one."""
        first = self.func._schema.arguments[:1]
        if first and first[0].alias_info is not None and first[0].alias_info.is_write:
            return self.args[0] if self.args else None
        return None

    @property
    def keeps_written(self):
        """Whether it writes constants or random numbers, one rule for all channels."""
        return self.name in FILLS

    @property
    def moves(self):
        return self.name in MOVES or self.name in ("cat", "stack")
