"""Which layer made each channel of each tensor: what tracing keeps, and how torch's ops pass it on.

One forward pass at full width runs under :class:`ChannelFlow`. Every tensor carries a
:class:`Layout`: the dimension that its channels lie in, and the parts they are joined of.
Layers that make channels set it (see ``trace``); whatever happens between layers
(activations, pooling, sums, concatenations, reshapes) passes it on here, operation by
operation, so no source code is read and none has to be traceable.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary


@dataclass(frozen=True)
class Part:
    """Channels that one layer made.

    ``source``: the layer's name; ``None`` for channels that are always all there (the
    network's input, layers that are not slimmed). ``times``: entries for each channel.
    """

    source: str | None
    channels: int
    times: Fraction = Fraction(1)

    @property
    def entries(self):
        return int(self.channels * self.times)


@dataclass(frozen=True)
class Layout:
    """Where a tensor's channels are: dimension ``dim``, made of ``parts`` in order."""

    dim: int
    parts: tuple

    @property
    def entries(self):
        return sum(part.entries for part in self.parts)


@dataclass(frozen=True)
class Lost:
    """The channels cannot be followed any further, and why."""

    reason: str


# Parameters, buffers and what is made of them alone: of one size at every width.
STATIC = object()

_ANOTHER_SHAPE = {
    "view",
    "_unsafe_view",
    "_reshape_alias",
    "reshape",
    "unsqueeze",
    "squeeze",
    "flatten",
}
_REDUCTIONS = {
    "mean",
    "sum",
    "amax",
    "amin",
    "max",
    "min",
    "var",
    "std",
    "var_mean",
    "norm",
    "linalg_vector_norm",
    "logsumexp",
    "prod",
    "any",
    "all",
    "argmax",
    "argmin",
}
_PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "linear", "matmul"}
_PARTS_OF = {"split", "split_with_sizes", "slice", "select", "unbind", "chunk", "narrow"}


class ChannelFlow(TorchDispatchMode):
    """Follows the channels through every operation that runs inside it.

    Attributes:
        quiet: a layer that sets its own output's layout is running.
        stack: paths of the modules that are running, for messages.
        unions: pairs of sources that must have the same channels at every width.
        pinned: ``{source: reason}`` of sources that must keep all their channels.
    """

    def __init__(self, static_tensors, stack=()):
        super().__init__()
        self.stack = stack
        self._found = WeakTensorKeyDictionary()
        for tensor in static_tensors:
            self._found[tensor] = STATIC
        self.quiet = False
        self.unions = []
        self.pinned = {}

    @property
    def where(self):
        return (self.stack and self.stack[-1]) or "the network's own forward"

    def get(self, tensor):
        """:class:`Layout`, :class:`Lost`, ``STATIC`` or ``None``."""
        return self._found.get(tensor)

    def set(self, tensor, layout):
        self._found[tensor] = layout

    def pin(self, layout, reason):
        """The layers that made these channels keep all of them."""
        if isinstance(layout, Layout):
            for part in layout.parts:
                if part.source is not None:
                    self.pinned.setdefault(part.source, reason)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not self.quiet:
            self._pass_on(func.overloadpacket.__name__.rstrip("_"), args, kwargs or {}, out)
        return out

    def _pass_on(self, op, args, kwargs, out):
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        known = [(t, found) for t in tensors if (found := self.get(t)) is not None]
        if not known:
            return
        results = [t for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        if all(found is STATIC for _, found in known):
            if len(known) == len(tensors):
                for result in results:
                    self.set(result, STATIC)
            return
        lost = next((found for _, found in known if isinstance(found, Lost)), None)
        for position, result in enumerate(results):
            layout = lost or self._layout(op, args, kwargs, tensors, known, result, position)
            if layout is not None:
                self.set(result, layout)

    def _layout(self, op, args, kwargs, tensors, known, out, position):
        first = next((t, found) for t, found in known if isinstance(found, Layout))
        if op in _ANOTHER_SHAPE:
            return self._reshaped(op, *first, out)
        if op in ("permute", "transpose", "t", "numpy_T"):
            return _permuted(op, args, *first)
        if op in ("cat", "concat", "concatenate"):
            dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
            return self._joined(args[0], dim % out.dim())
        if op == "stack":
            dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.dim()
            return Layout(first[1].dim + (dim <= first[1].dim), first[1].parts)
        if op in _REDUCTIONS and out.dim() <= first[0].dim():
            return self._reduced(args, kwargs, *first, out)
        if op in _PRODUCTS:
            return self._product(op, tensors, out)
        if op == "convolution" and first[1].dim == 1 and first[0] is args[0]:
            self.pin(first[1], f"{self.where} reads all of its channels")
            return Layout(1, (Part(None, out.shape[1]),))
        if op in _PARTS_OF:
            return self._part_of(op, args, kwargs, *first, out, position)
        if "norm" in op and any(found is STATIC for _, found in known):
            self.pin(first[1], f"{self.where} has parameters for all of its channels")
            return first[1] if out.shape == first[0].shape else None
        return self._same_shape(op, known, out)

    def _lost(self, what):
        return Lost(f"{what}, in {self.where}")

    def _same_shape(self, op, known, out):
        """Elementwise operations and whatever else leaves the channels where they were."""
        layout = None
        for tensor, found in known:
            if found is STATIC:
                continue
            dim = found.dim + out.dim() - tensor.dim()
            if dim < 0 or dim >= out.dim():
                return self._lost(f"{op} drops the dimension of the channels")
            if tensor.shape[found.dim] == 1 != out.shape[dim]:
                continue  # broadcast
            if out.shape[dim] != found.entries:
                return self._lost(f"{op} makes {out.shape[dim]} channels of {found.entries}")
            if layout is None:
                layout = Layout(dim, found.parts)
            elif layout.dim != dim or not self.unite(layout.parts, found.parts):
                return self._lost(
                    f"{op} combines {describe(layout.parts)} with {describe(found.parts)}"
                )
        if layout is None:
            return None
        for tensor, found in known:
            dim = layout.dim - out.dim() + tensor.dim()
            if found is STATIC and 0 <= dim and tensor.shape[dim] == layout.entries > 1:
                self.pin(layout, f"{self.where} has a parameter or buffer of all its channels")
        return layout

    def unite(self, ours, theirs):
        """Whether two layouts can be one; notes which sources must then agree."""
        if ours == theirs:
            return True
        if all(part.source is None for part in (*ours, *theirs)):
            return sum(p.entries for p in ours) == sum(p.entries for p in theirs)
        same = len(ours) == len(theirs) and all(
            (a.channels, a.times) == (b.channels, b.times)
            for a, b in zip(ours, theirs, strict=True)
        )
        if not same:
            return False
        self.unions += [(a.source, b.source) for a, b in zip(ours, theirs, strict=True)]
        return True

    def _reshaped(self, op, tensor, found, out):
        before = math.prod(tensor.shape[: found.dim])
        size, running = tensor.shape[found.dim], 1
        for dim, extent in enumerate(out.shape):
            # The dimension that starts where the channels start holds them, whole, with
            # what was flattened into them.
            if running == before and extent % size == 0 and extent >= size:
                times = extent // size
                after = math.prod(tensor.shape[found.dim + 1 :])
                if times == 1 or after % times == 0:
                    parts = found.parts
                    if times > 1:
                        parts = tuple(Part(p.source, p.channels, p.times * times) for p in parts)
                    return Layout(dim, parts)
            running *= extent
        shapes = f"{tuple(tensor.shape)} as {tuple(out.shape)}"
        return self._lost(f"{op} splits or mixes the channels ({shapes})")

    def _joined(self, tensors, dim):
        parts, layout = [], None
        for tensor in tensors:
            found = self.get(tensor)
            if isinstance(found, Layout) and found.dim != dim:
                # Joined along another dimension: the channels have to agree.
                if layout is not None and not (
                    layout.dim == found.dim and self.unite(layout.parts, found.parts)
                ):
                    return self._lost(f"cat of {describe(layout.parts)} and other channels")
                layout = layout or found
            elif isinstance(found, Layout):
                parts += found.parts
            else:
                parts.append(Part(None, tensor.shape[dim]))
        if layout is not None:
            return layout
        return Layout(dim, tuple(parts))

    def _reduced(self, args, kwargs, tensor, found, out):
        dims = args[1] if len(args) > 1 else kwargs.get("dim")
        if dims is None or isinstance(dims, torch.Tensor):
            return None if out.dim() == 0 else self._same_shape("reduction", [(tensor, found)], out)
        dims = [dims] if isinstance(dims, int) else list(dims)
        dims = {d % tensor.dim() for d in dims} if dims else set(range(tensor.dim()))
        kept = out.dim() == tensor.dim()
        if found.dim in dims:
            return Layout(found.dim, (Part(None, 1),)) if kept else None
        if kept:
            return found
        return Layout(found.dim - sum(d < found.dim for d in dims), found.parts)

    def _product(self, op, tensors, out):
        """Matrix products: rows follow the first factor, columns the second."""
        first, second = tensors[1:3] if op in ("addmm", "baddbmm") else tensors[:2]
        kept = set()
        for tensor, other, summed, place in ((first, second, 1, 2), (second, first, 2, 1)):
            found = self.get(tensor)
            if not isinstance(found, Layout):
                continue
            if found.dim != tensor.dim() - summed:
                kept.add(Layout(found.dim + out.dim() - tensor.dim(), found.parts))
            elif self.get(other) is STATIC:  # the sum over the channels is one of all of them
                self.pin(found, f"{self.where} reads all of its channels")
                dim = out.dim() - (3 - place)
                return Layout(dim, (Part(None, out.shape[dim]),))
        if len(kept) > 1:
            return self._lost(f"{op} makes channels of channels in two dimensions")
        layout = next(iter(kept), None)
        if layout and layout.entries != out.shape[layout.dim]:
            return self._lost(f"{op} mixes the channels")
        return layout

    def _part_of(self, op, args, kwargs, tensor, found, out, position):
        place = 2 if op in ("split", "split_with_sizes", "chunk") else 1
        dim = args[place] if len(args) > place else kwargs.get("dim", 0)
        dim %= tensor.dim()
        if dim != found.dim:
            gone = tensor.dim() - out.dim()
            return Layout(found.dim - (gone if dim < found.dim else 0), found.parts)
        if out.dim() == tensor.dim() and out.shape[dim] == found.entries:
            return found
        if out.dim() < tensor.dim():
            return None  # one channel of many: no channels are left
        if op == "slice" and len(args) > 4 and args[4] != 1:
            return self._lost(f"slice takes every {args[4]}th channel")
        start = _start(op, args, out, position, dim)
        taken, at = [], 0
        for part in found.parts:
            if start <= at and at + part.entries <= start + out.shape[dim]:
                taken.append(part)
            at += part.entries
        if sum(part.entries for part in taken) != out.shape[dim]:
            return self._lost(f"{op} takes {out.shape[dim]} channels out of {found.entries}")
        return Layout(dim, tuple(taken))


def _start(op, args, out, position, dim):
    """First entry that a split or slice took."""
    if op == "slice":
        start = args[2] if len(args) > 2 and args[2] is not None else 0
        return start % args[0].shape[dim] if start < 0 else start
    if op == "split_with_sizes":
        return sum(args[1][:position])
    if op in ("split", "chunk"):
        size = args[1] if op == "split" else -(-args[0].shape[dim] // args[1])
        return position * size
    return args[2]  # narrow


def _permuted(op, args, tensor, found):
    order = list(range(tensor.dim()))
    if op == "permute":
        order = [d % tensor.dim() for d in args[1]]
    else:
        a, b = (args[1], args[2]) if len(args) > 2 else (0, tensor.dim() - 1)
        order[a], order[b] = order[b], order[a]
    return Layout(order.index(found.dim), found.parts)


def describe(parts):
    """``64 channels of layer1.0.conv1 + 16 of side`` for messages."""
    names = [f"{part.entries} of {part.source or 'a fixed layer'}" for part in parts[:3]]
    more = f" + {len(parts) - 3} more" if len(parts) > 3 else ""
    return "channels " + " + ".join(names) + more
