"""Labels in the shape of a tensor: which channel each of its entries belongs to.

A shadow has as many dimensions as its tensor, and is 1 long along each one that the labels do
not change along.
"""

import torch

from mutualvideo.slim.tracing.labels import FREE, WHOLE

# Entries of a shadow that is written out; an operation that would need more is given up.
LIMIT = 1 << 25


def along(labels, dim, dims):
    """The shadow of a tensor of ``dims`` dimensions whose channels lie along ``dim``."""
    shape = [1] * dims
    shape[dim] = -1
    return torch.from_numpy(labels).view(shape)


def free(dims):
    """The shadow of a tensor of ``dims`` dimensions that has nothing to do with channels."""
    return torch.full((1,) * dims, FREE, dtype=torch.int32)


def compress(tensor):
    """The shadow of what ``tensor``, int32, says for every entry; ``None`` where all are whole."""
    for dim, size in enumerate(tensor.shape):
        if size > 1:
            first = tensor.narrow(dim, 0, 1)
            if tensor.stride(dim) == 0 or bool((tensor == first).all()):
                tensor = first
    if tensor.numel() == 0 or not bool((tensor != WHOLE).any()):
        return None
    return tensor.contiguous()


def is_free(shadow):
    return shadow is not None and bool((shadow == FREE).all())


def is_labelled(shadow):
    return shadow is not None and bool((shadow > FREE).any())


def varying(shadow):
    """The dimensions that the labels change along."""
    return {dim for dim, size in enumerate(shadow.shape) if size > 1}


def flat(shadow):
    """int32 (n,) array of its labels."""
    return shadow.reshape(-1).numpy()


def aligned(shadow, dims):
    """``shadow`` with leading dimensions of 1 up to ``dims``, as broadcasting adds them."""
    return shadow.reshape((1,) * (dims - shadow.dim()) + tuple(shadow.shape))
