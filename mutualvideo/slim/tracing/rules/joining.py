"""Rules of cat and stack."""

import torch

from mutualvideo.slim.tracing.rules.combining import combine
from mutualvideo.slim.tracing.rules.moving import after_move
from mutualvideo.slim.tracing.shadow import compress, free, is_free, is_labelled, varying


def follow_cat(call):
    dims = call.results[0].dim()
    dim = (call.arg("dim") or 0) % dims
    given = [t for t in call.arg("tensors") if t.dim() == dims]
    shadows = [call.shadow(t) for t in given]
    labelled = [s for s in shadows if is_labelled(s)]
    if not labelled:
        return [free(dims) if all(is_free(s) for s in shadows) else None]
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
    return [after_move(call, compress(torch.cat(parts, dim)))]


def _one_long(shape, dim):
    return tuple(1 if d == dim else size for d, size in enumerate(shape))


def follow_stack(call):
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
    return [after_move(call, compress(torch.stack(parts, dim)))]
