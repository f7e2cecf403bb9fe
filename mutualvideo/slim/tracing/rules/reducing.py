"""Rules of operations that make one number of many, or depend on their order."""

import torch

from mutualvideo.slim.tracing.rules.call import Unfollowed
from mutualvideo.slim.tracing.rules.combining import follow_elementwise
from mutualvideo.slim.tracing.rules.operation_names import POSITIONS
from mutualvideo.slim.tracing.shadow import flat, is_free, is_labelled, varying


def follow_reduction(call):
    if call.name in ("max", "min") and len(call.tensors) > 1:
        return follow_elementwise(call)
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
    if over and call.name in POSITIONS:
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


def follow_in_order(call):
    """cumsum, sort and the like: along the channels, their order is part of the answer."""
    shadow = call.shadows[0]
    if shadow is None:
        raise Unfollowed("takes positions from channels")
    dim = call.arg("dim")
    dim = (len(call.shapes[0]) - 1 if dim is None else dim) % max(len(call.shapes[0]), 1)
    if dim in varying(shadow) or not varying(shadow):
        raise Unfollowed("depends on the order of the channels")
    return [shadow] * len(call.results)
