"""Rules of layers that are written as functions, and of operations over space."""

import numpy as np
import torch

from mutualvideo.slim.tracing.labels import FREE, WHOLE
from mutualvideo.slim.tracing.rules.call import Unfollowed
from mutualvideo.slim.tracing.rules.combining import combine
from mutualvideo.slim.tracing.shadow import aligned, along, flat, is_free, is_labelled, varying


def over_space(spatial):
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


def over_channels(dim_of):
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
        ours = ours.astype(np.int32)
        # The statistics of a batch, which it gives too.
        rest = [along(ours, 0, 1) if t.shape == ours.shape else None for t in call.results[1:]]
        return [along(ours, dim, len(shape)), *rest]

    return rule


def layer_norm_dim(call):
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


def follow_group_norm(call):
    if call.arg("group") != 1 and is_labelled(call.shadows[0]):
        if len(call.tensors) > 1:
            raise Unfollowed("has parameters for all of its channels")
        raise Unfollowed("ties its groups to the number of channels")
    return over_channels(lambda call: 1)(call)


def follow_glu(call):
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


def follow_convolution(call):
    raise Unfollowed("reads all channels of its input with a weight that is not cut")


def follow_product(call):
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
