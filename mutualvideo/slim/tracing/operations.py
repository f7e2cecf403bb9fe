"""How each of torch's operations passes labels on: one rule a kind, and an allow-list of kinds.

A rule gets a :class:`Call` and returns the shadows of its results. What it cannot follow it
raises as :class:`Unfollowed`: then all channels that go in are pinned, and what comes out is
whole. So is everything that an operation without a rule reads.
"""

from functools import cached_property

import numpy as np
import torch
from torch.utils._pytree import tree_leaves

from mutualvideo.slim.tracing.labels import FREE, WHOLE
from mutualvideo.slim.tracing.shadow import (
    LIMIT,
    aligned,
    compress,
    flat,
    is_free,
    is_labelled,
    varying,
)


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
        return self.name in _FILLS

    @property
    def moves(self):
        return self.name in _MOVES or self.name in ("cat", "stack")


def rule_of(call):
    """The rule for ``call``; ``None`` where nothing that goes in has labels."""
    name = call.name
    if name in _FACTORIES:
        return _free
    if name.endswith("_like") and name != "view_like":
        return _like
    if all(shadow is None for shadow in call.shadows):
        return None
    if name in _RULES:
        return _RULES[name]
    if torch.Tag.pointwise in call.func.tags:
        return _elementwise
    return _unknown


def _unknown(call):
    if not any(is_labelled(s) for s in call.shadows):
        return [None] * len(call.results)
    raise Unfollowed("is not an operation that channels are followed through")


def _free(call):
    if any(is_labelled(s) for s in call.shadows) and call.written is None:
        if call.name.startswith("new_"):
            pass  # its values are not the tensor's
        elif call.name == "bernoulli":
            return _elementwise(call)
    return [torch.full((1,) * t.dim(), FREE, dtype=torch.int32) for t in call.results]


def _like(call):
    shadow = call.shadows[0]
    if not is_labelled(shadow):
        shadow = torch.full((1,) * call.results[0].dim(), FREE, dtype=torch.int32)
    return [shadow]


# Elementwise.


def _elementwise(call):
    if call.name == "copy":
        operands = [(call.shapes[1], call.shadows[1])]
    else:
        operands = list(zip(call.shapes, call.shadows, strict=True))
    shadow = combine(call, operands, tuple(call.results[0].shape))
    return [shadow] * len(call.results)


def combine(call, operands, out_shape):
    """The shadow of what is made of ``operands``, (shape, shadow), entry by entry."""
    flow, dims = call.flow, len(out_shape)
    operands = [(s, shadow) for s, shadow in operands if s != () or is_labelled(shadow)]
    labelled = [(s, shadow) for s, shadow in operands if is_labelled(shadow)]
    if not labelled:
        if operands and all(is_free(shadow) for _, shadow in operands):
            return torch.full((1,) * dims, FREE, dtype=torch.int32)
        return None
    why = call.flow.why(call, "combines its channels with others that are whole")
    result = None
    for _, shadow in labelled:
        shadow = aligned(shadow, dims)
        if result is None or result is shadow:
            result = shadow
            continue
        ours, theirs = varying(result), varying(shadow)
        if not (ours <= theirs or theirs <= ours):
            raise Unfollowed("combines channels that lie in different dimensions")
        both = torch.broadcast_tensors(result, shadow)
        if torch.equal(*both):
            result = both[0].contiguous()
            continue
        flow.book.unite(*(flat(s) for s in both), why)
        result = torch.where(both[0] <= FREE, torch.maximum(*both), both[0])
    along = varying(result)
    for shape, shadow in operands:
        if is_labelled(shadow) or is_free(shadow):
            continue
        shape = (1,) * (dims - len(shape)) + tuple(shape)
        if any(shape[dim] > 1 for dim in along):
            flow.pin(result, why)
            break
    return result


# Operations that move entries: the same operation moves their labels.


def _written_out(shadow, shape):
    return shadow.expand(shape)


def _move(call, args=None):
    """Runs the operation itself on the labels."""
    tensor, shadow = call.tensors[0], call.shadows[0]
    if shadow is None or call.func._overloadname == "dtype":
        raise Unfollowed("takes positions from channels")
    shape = call.shapes[0]
    func = call.func
    if call.written is not None:
        func = getattr(getattr(torch.ops.aten, call.name), func._overloadname)
    if _size(shape) > LIMIT:
        raise Unfollowed("has too many entries to be followed")
    arguments = [shadow.expand(shape) if value is tensor else value for value in call.args]
    kwargs = {k: v for k, v in call.kwargs.items() if k not in _OF_THE_TENSOR}
    if call.name == "view":
        try:
            moved = func(*arguments, **kwargs)
        except RuntimeError:  # labels lie in memory in their own way
            moved = arguments[0].reshape(call.args[1])
    elif call.name in ("_unsafe_view", "_reshape_alias"):
        moved = arguments[0].reshape(call.args[1])
    else:
        moved = func(*arguments, **kwargs)
    moved = [moved] if isinstance(moved, torch.Tensor) else list(moved)
    return [_moved(call, compress(one)) for one in moved]


def _moved(call, shadow):
    """What a movement left; a single channel is one that has to be there at every width."""
    if is_labelled(shadow) and not varying(shadow) and not call.flow.narrow:
        call.flow.pin(shadow, call.flow.why(call, "takes one channel"))
        return None
    return shadow


def _size(shape):
    return int(np.prod(shape, dtype=np.int64))


def _reshape(call):
    moved = _move(call)
    before, after = call.shadows[0], moved[0]
    if is_labelled(after) and len(varying(after)) > len(varying(before)):
        # (groups, channels of each): every row is a block of its own.
        dims = sorted(varying(after))[:-1]
        pieces = torch.zeros(after.shape, dtype=torch.int64)
        for dim in dims:
            size = after.shape[dim]
            shape = [1] * after.dim()
            shape[dim] = size
            pieces = pieces * size + torch.arange(size).view(shape)
        call.flow.book.cut(flat(after), pieces.reshape(-1).numpy())
    return moved


def _cut(call):
    """split, slice, select, unbind: the channels are taken apart."""
    tensor, shadow = call.tensors[0], call.shadows[0]
    dim = (call.arg("dim") or 0) % max(tensor.dim(), 1)
    moved = _move(call)
    step = call.arg("step", 1) if call.name == "slice" else 1
    if is_labelled(shadow) and dim in varying(shadow) and step == 1:
        whole = call.results[0].dim() == tensor.dim() and (
            call.results[0].shape[dim] == call.shapes[0][dim]
        )
        if not whole:
            _cut_at(call, shadow, dim)
    return moved


def _cut_at(call, shadow, dim):
    size = call.shapes[0][dim]
    pieces = np.zeros(size, np.int64)
    positions = torch.arange(size)
    view = [1] * len(call.shapes[0])
    view[dim] = size
    arguments = [positions.view(view) if v is call.tensors[0] else v for v in call.args]
    parts = call.func(*arguments, **call.kwargs)
    parts = [parts] if isinstance(parts, torch.Tensor) else parts
    for number, part in enumerate(parts, 1):
        pieces[part.reshape(-1).numpy()] = number
    shape = [1] * shadow.dim()
    shape[dim] = size
    by_entry = torch.from_numpy(pieces).view(shape).expand(shadow.shape)
    call.flow.book.cut(flat(shadow), by_entry.reshape(-1).numpy())


def _as_strided(call):
    same = tuple(call.results[0].shape) == call.shapes[0]
    if same and call.shadows[0] is not None:
        strides = zip(call.shapes[0], call.arg("stride"), call.tensors[0].stride(), strict=True)
        if all(size == 1 or ours == theirs for size, ours, theirs in strides):
            return [call.shadows[0]]
    raise Unfollowed("takes entries by where they lie in memory")


def _keep(call):
    """The result has the entries of the first tensor, each in its place."""
    return [call.shadows[0]] * len(call.results)


def _along_dims(call):
    """flip, roll: nothing moves for labels that do not change along the dimensions."""
    shadow = call.shadows[0]
    dims = {d % len(call.shapes[0]) for d in call.arg("dims")}
    if not dims & varying(shadow) and (dims or call.name == "flip"):
        return [shadow]
    return [_moved(call, compress(call.func(shadow, *call.args[1:])))] if dims else _move(call)


def _pad(call):
    shadow, pad = call.shadows[0], list(call.arg("pad"))
    dims = len(call.shapes[0])
    kept = []
    for place in range(0, len(pad), 2):
        touches = dims - 1 - place // 2 in varying(shadow)
        kept += pad[place : place + 2] if touches else [0, 0]
    if any(amount < 0 for amount in kept):
        raise Unfollowed("cuts channels off")
    value = call.arg("value")
    filled = FREE if not isinstance(value, torch.Tensor) else WHOLE
    return [torch.nn.functional.pad(shadow, kept, value=filled)]


def _index_select(call):
    shadow, index = call.shadows[0], call.arg("index")
    if shadow is None:
        raise Unfollowed("takes positions from channels")
    dim = call.arg("dim") % len(call.shapes[0])
    if dim not in varying(shadow):
        return [shadow]
    if index.is_meta:
        raise Unfollowed("takes channels by an index that is not known")
    return [_moved(call, compress(shadow.index_select(dim, index.cpu())))]


def _index(call):
    shadow, indices = call.shadows[0], call.arg("indices")
    if not is_labelled(shadow):
        raise Unfollowed("takes positions from channels")
    if any(isinstance(i, torch.Tensor) and is_labelled(call.shadow(i)) for i in indices):
        raise Unfollowed("takes positions from channels")
    used = [dim for dim, index in enumerate(indices) if index is not None]
    given = [indices[dim] for dim in used]
    if any(i.dtype in (torch.bool, torch.uint8) for i in given):
        raise Unfollowed("takes entries by a mask")
    if len(given) == 1 and given[0].dim() == 1 and used[0] not in varying(shadow):
        return [shadow]
    if any(i.is_meta for i in given):
        raise Unfollowed("takes channels by an index that is not known")
    if _size(call.shapes[0]) > LIMIT:
        raise Unfollowed("has too many entries to be followed")
    index = [None if i is None else i.cpu() for i in indices]
    return [_moved(call, compress(call.func(shadow.expand(call.shapes[0]), index)))]


# Joining.


def _cat(call):
    dims = call.results[0].dim()
    dim = (call.arg("dim") or 0) % dims
    given = [t for t in call.arg("tensors") if t.dim() == dims]
    shadows = [call.shadow(t) for t in given]
    labelled = [s for s in shadows if is_labelled(s)]
    if not labelled:
        free = all(is_free(s) for s in shadows)
        return [torch.full((1,) * dims, FREE, dtype=torch.int32) if free else None]
    joins = any(dim in varying(s) for s in labelled)
    if call.flow.narrow:  # where a single channel is left, its shadow does not tell
        joins = joins or dim in call.flow.book.expected_dims()
    if not joins:  # along another dimension: the channels have to agree
        operands = [(_one_long(t.shape, dim), s) for t, s in zip(given, shadows, strict=True)]
        return [combine(call, operands, _one_long(call.results[0].shape, dim))]
    along = set().union(*(varying(s) for s in labelled)) | {dim}
    parts = []
    for tensor, shadow in zip(given, shadows, strict=True):
        shadow = torch.zeros((1,) * dims, dtype=torch.int32) if shadow is None else shadow
        parts.append(shadow.expand([n if d in along else 1 for d, n in enumerate(tensor.shape)]))
    return [_moved(call, compress(torch.cat(parts, dim)))]


def _one_long(shape, dim):
    return tuple(1 if d == dim else size for d, size in enumerate(shape))


def _stack(call):
    given = list(call.arg("tensors"))
    dims = call.results[0].dim()
    dim = (call.arg("dim") or 0) % dims
    shape = tuple(given[0].shape)
    along = set().union(*(varying(s) for t in given if (s := call.shadow(t)) is not None))
    parts = []
    for tensor in given:
        shadow = call.shadow(tensor)
        shadow = torch.zeros((1,) * len(shape), dtype=torch.int32) if shadow is None else shadow
        parts.append(shadow.expand([n if d in along else 1 for d, n in enumerate(shape)]))
    return [_moved(call, compress(torch.stack(parts, dim)))]


# Reductions.


def _reduce(call):
    if call.name in ("max", "min") and len(call.tensors) > 1:
        return _elementwise(call)
    shadow, shape = call.shadows[0], call.shapes[0]
    if shadow is None:
        raise Unfollowed("takes positions from channels")
    dims = call.arg("dim")
    if isinstance(dims, torch.Tensor):
        raise Unfollowed("has a dimension that is not known")
    if dims is None or (isinstance(dims, (list, tuple)) and not dims):
        dims = range(len(shape))
    dims = {d % max(len(shape), 1) for d in ([dims] if isinstance(dims, int) else dims)}
    over = dims & varying(shadow)
    if over and call.name in _POSITIONS:
        if call.name not in ("max", "min") or len(call.results) == 2:
            call.flow.positions(call.results[-1], shadow)
    if over and varying(shadow) - dims:
        # Rows of channels are combined one by one, as stack and sum do.
        for dim in sorted(over):
            first = shadow.narrow(dim, 0, 1)
            one, other = torch.broadcast_tensors(first, shadow)
            why = call.flow.why(call, "combines its channels with others that are whole")
            call.flow.book.unite(flat(one), flat(other), why)
            shadow = first
    elif over:
        return [None] * len(call.results)
    for dim in dims:
        shadow = shadow.narrow(dim, 0, 1)
    if call.results[0].dim() < len(shape):
        kept = [d for d in range(len(shape)) if d not in dims]
        shadow = shadow.permute(*kept, *sorted(dims)).reshape([shadow.shape[d] for d in kept])
    return [shadow if is_labelled(shadow) or is_free(shadow) else None] * len(call.results)


def _in_order(call):
    """cumsum, sort and the like: along the channels, their order is part of the answer."""
    shadow = call.shadows[0]
    if shadow is None:
        raise Unfollowed("takes positions from channels")
    dim = call.arg("dim")
    dim = (len(call.shapes[0]) - 1 if dim is None else dim) % max(len(call.shapes[0]), 1)
    if dim in varying(shadow) or not varying(shadow):
        raise Unfollowed("depends on the order of the channels")
    return [shadow] * len(call.results)


# Operations over space, and layers written as functions.


def _over_space(spatial):
    def rule(call):
        shadow = call.shadows[0]
        if shadow is None or any(is_labelled(s) for s in call.shadows[1:]):
            raise Unfollowed("takes positions from channels")
        kept = len(call.shapes[0]) - spatial
        if any(dim >= kept for dim in varying(shadow)):
            raise Unfollowed("mixes the channels as if they were space")
        return [aligned(shadow, t.dim()) for t in call.results]

    return rule


def _channel_vector(call, shadow, dim, size):
    """int32 (size,): the labels along ``dim``; all whole where they do not change along it."""
    if shadow is None:
        return np.zeros(size, np.int32)
    if varying(shadow) - {dim}:
        raise Unfollowed("reads channels along another dimension than theirs")
    return flat(shadow.expand([size if d == dim else 1 for d in range(shadow.dim())]))


def _functional_norm(dim_of):
    """batch_norm and layer_norm: a number for each channel meets the channels."""

    def rule(call):
        x, shape = call.args[0], call.shapes[0]
        shadow, dim = call.shadows[0], dim_of(call)
        rest = [None] * (len(call.results) - 1)
        if dim is None:
            return [shadow, *rest]
        ours = _channel_vector(call, shadow, dim, shape[dim])
        why = call.flow.why(call, "has parameters for all of its channels")
        for tensor, theirs in zip(call.tensors[1:], call.shadows[1:], strict=True):
            if tensor is x or is_free(theirs) or tensor.numel() != shape[dim]:
                continue
            theirs = _channel_vector(call, theirs, tensor.dim() - 1, shape[dim])
            call.flow.book.unite(ours, theirs, why)
            ours = np.where(ours == WHOLE, theirs, ours)
        if not (ours > FREE).any():
            return [None, *rest]
        if call.name == "native_layer_norm" and not is_labelled(shadow):
            raise Unfollowed("scales whole channels")
        view = [1] * len(shape)
        view[dim] = -1
        return [torch.from_numpy(ours.astype(np.int32)).view(view), *rest]

    return rule


def _layer_norm_dim(call):
    normalized = call.arg("normalized_shape")
    shape, shadow = call.shapes[0], call.shadows[0]
    inside = set(range(len(shape) - len(normalized), len(shape)))
    if shadow is not None and not inside & varying(shadow):
        if any(is_labelled(s) for s in call.shadows[1:]):
            raise Unfollowed("scales whole channels")
        return None
    if len(normalized) > 1 and len(call.tensors) > 1:
        raise Unfollowed("has parameters for all of its channels")
    return len(shape) - 1 if len(normalized) == 1 else None


def _group_norm(call):
    if call.arg("group") != 1 and is_labelled(call.shadows[0]):
        if len(call.tensors) > 1:
            raise Unfollowed("has parameters for all of its channels")
        raise Unfollowed("ties its groups to the number of channels")
    return _functional_norm(lambda call: 1)(call)


def _glu(call):
    shadow = call.shadows[0]
    dim = call.arg("dim") % len(call.shapes[0])
    if dim not in varying(shadow):
        return [shadow]
    size = shadow.shape[dim] // 2
    pieces = torch.arange(2 * size).div(size, rounding_mode="floor")
    view = [1] * shadow.dim()
    view[dim] = -1
    call.flow.book.cut(flat(shadow), pieces.view(view).expand(shadow.shape).reshape(-1).numpy())
    one, other = shadow.narrow(dim, 0, size), shadow.narrow(dim, size, size)
    call.flow.book.unite(
        flat(one),
        flat(other),
        call.flow.why(call, "combines its channels with others that are whole"),
    )
    return [one.contiguous()]


def _convolution(call):
    raise Unfollowed("reads all channels of its input with a weight that is not cut")


def _product(call):
    """Matrix products: rows follow the first factor, columns the second."""
    with_bias = call.name in ("addmm", "baddbmm", "addmv", "addbmm")
    first, second = call.args[1:3] if with_bias else call.args[:2]
    a, b = call.shadow(first), call.shadow(second)
    transposed = call.name == "linear"
    out, dims = call.results[0], call.results[0].dim()
    rows = cols = None
    vectors = []
    for shadow, tensor, inner in ((a, first, -1), (b, second, -1 if transposed else -2)):
        if not is_labelled(shadow):
            vectors.append(None)
            continue
        inner = tensor.dim() - 1 if tensor.dim() == 1 else inner % tensor.dim()
        along = varying(shadow)
        if any(dim < tensor.dim() - 2 for dim in along) or len(along) > 1:
            raise Unfollowed("makes channels of channels in two dimensions")
        if along == {inner}:
            vectors.append(flat(shadow))
            continue
        vectors.append(None)
        if tensor is first:
            rows = flat(shadow)
        else:
            cols = flat(shadow)
    why = call.flow.why(call, "multiplies its channels by numbers for all of them")
    if any(v is not None for v in vectors):
        free = [is_free(s) for s in (a, b)]
        size = len(next(v for v in vectors if v is not None))
        pair = [
            (np.full(size, FREE, np.int32) if is_one else np.zeros(size, np.int32))
            if v is None
            else v
            for v, is_one in zip(vectors, free, strict=True)
        ]
        call.flow.book.unite(*pair, why)
    if rows is not None and cols is not None:
        raise Unfollowed("makes channels of channels in two dimensions")
    shadow = None
    if rows is not None or cols is not None:
        view = [1] * dims
        view[(dims - 2 if second.dim() > 1 else dims - 1) if rows is not None else dims - 1] = -1
        shadow = torch.from_numpy(rows if rows is not None else cols).view(view)
    if with_bias:
        bias = call.shadow(call.args[0])
        operands = [(tuple(out.shape), shadow), (tuple(call.args[0].shape), bias)]
        shadow = combine(call, operands, tuple(out.shape))
    return [shadow]


_FILLS = {"fill", "zero", "normal", "uniform", "bernoulli", "random", "exponential"}
_FACTORIES = {
    "zeros", "ones", "full", "empty", "rand", "randn", "randint", "scalar_tensor", "empty_strided",
    "new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided", *_FILLS,
}  # fmt: skip
_OF_THE_TENSOR = {"dtype", "device", "layout", "pin_memory", "memory_format", "non_blocking"}
_POSITIONS = {"argmax", "argmin", "max", "min"}

_ELEMENTWISE = (
    "hardswish _prelu_kernel copy native_dropout rsub log_sigmoid_forward rrelu_with_noise "
    "masked_fill where floor_divide dropout _fused_dropout"
)
_KEEPS = (
    "clone detach alias contiguous _to_copy lift_fresh lift_fresh_copy positive _conj "
    "resolve_conj resolve_neg _softmax _log_softmax softmax log_softmax _pin_memory"
)
_SHAPES = "view _unsafe_view _reshape_alias reshape flatten unflatten"
_MOVEMENTS = (
    "permute transpose t numpy_T squeeze unsqueeze expand repeat movedim unfold channel_shuffle "
    "native_channel_shuffle repeat_interleave diagonal"
)
_CUTS = "split split_with_sizes slice select unbind chunk narrow unsafe_split unsafe_chunk"
_REDUCTIONS = (
    "mean sum amax amin max min var std var_mean std_mean norm linalg_vector_norm logsumexp prod "
    "any all argmax argmin count_nonzero nansum aminmax"
)
_ORDERED = (
    "cumsum cumprod logcumsumexp cummax cummin _cummax_helper _cummin_helper sort argsort topk "
    "kthvalue median mode"
)
_PRODUCTS = "mm addmm bmm baddbmm linear matmul mv addmv dot"
_SPATIAL = {
    1: "avg_pool1d max_pool1d adaptive_avg_pool1d adaptive_max_pool1d upsample_nearest1d "
    "upsample_linear1d reflection_pad1d replication_pad1d _upsample_nearest_exact1d",
    2: "avg_pool2d max_pool2d max_pool2d_with_indices adaptive_avg_pool2d _adaptive_avg_pool2d "
    "adaptive_max_pool2d upsample_nearest2d upsample_bilinear2d upsample_bicubic2d "
    "_upsample_nearest_exact2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa reflection_pad2d "
    "replication_pad2d grid_sampler_2d fractional_max_pool2d roi_align roi_pool",
    3: "avg_pool3d max_pool3d max_pool3d_with_indices adaptive_avg_pool3d _adaptive_avg_pool3d "
    "adaptive_max_pool3d upsample_nearest3d upsample_trilinear3d _upsample_nearest_exact3d "
    "reflection_pad3d replication_pad3d grid_sampler_3d",
}
_MOVES = set(f"{_SHAPES} {_MOVEMENTS} {_CUTS} flip roll index index_select constant_pad_nd".split())

_RULES = {
    **dict.fromkeys(_ELEMENTWISE.split(), _elementwise),
    **dict.fromkeys(_KEEPS.split(), _keep),
    **dict.fromkeys(_SHAPES.split(), _reshape),
    **dict.fromkeys(_MOVEMENTS.split(), _move),
    **dict.fromkeys(_CUTS.split(), _cut),
    **dict.fromkeys(_REDUCTIONS.split(), _reduce),
    **dict.fromkeys(_ORDERED.split(), _in_order),
    **dict.fromkeys(_PRODUCTS.split(), _product),
    **{name: _over_space(n) for n, names in _SPATIAL.items() for name in names.split()},
    **dict.fromkeys(("flip", "roll"), _along_dims),
    "constant_pad_nd": _pad,
    "as_strided": _as_strided,
    "index_select": _index_select,
    "index": _index,
    "cat": _cat,
    "stack": _stack,
    "glu": _glu,
    "convolution": _convolution,
    "native_layer_norm": _functional_norm(_layer_norm_dim),
    "native_group_norm": _group_norm,
    **dict.fromkeys(
        (
            "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
            "cudnn_batch_norm _batch_norm_with_update _batch_norm_no_update batch_norm"
        ).split(),
        _functional_norm(lambda call: 1),
    ),
}
