"""Rules of operations that work entry by entry, or whose entries carry no channels."""

import torch

from mutualvideo.slim.tracing.labels import FREE
from mutualvideo.slim.tracing.rules.call import Unfollowed
from mutualvideo.slim.tracing.shadow import aligned, flat, free, is_free, is_labelled, varying


def follow_free(call):
    if call.name == "bernoulli" and call.written is None:  # its values are probabilities
        if any(is_labelled(s) for s in call.shadows):
            return follow_elementwise(call)
    return [free(t.dim()) for t in call.results]


def follow_like(call):
    shadow = call.shadows[0]
    return [shadow if is_labelled(shadow) else free(call.results[0].dim())]


def follow_elementwise(call):
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
            return free(dims)
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
