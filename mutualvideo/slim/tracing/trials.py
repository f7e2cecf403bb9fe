"""What a network is tried on: usual inputs, or the caller's example, on the meta device first."""

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from mutualvideo.errors import InputError
from mutualvideo.slim.meta_copy import copy_network, meta_twin

# Pictures and clips that a network is tried on where the caller gives no example: the usual
# ones first. On the meta device, so large ones cost nothing.
_USUAL = {
    nn.Conv3d: [(16, 224, 224), (32, 256, 256), (16, 112, 112), (64, 224, 224), (8, 64, 64)],
    nn.Conv2d: [(224, 224), (299, 299), (64, 64), (32, 32)],
    nn.Conv1d: [(16000,), (1024,), (128,)],
    nn.Linear: [()],
}


def trials(model, example):
    """(function that copies the model, arguments to run the copy on), best first.

    Raises:
        InputError: if there is no example, and no layer to guess one for.
    """
    if example is None:
        yield from _usual(model)
        return
    args = example if isinstance(example, tuple) else (example,)

    def to_meta(value):
        return value.to("meta") if isinstance(value, torch.Tensor) else value

    yield meta_twin, tree_map(to_meta, args)
    if any(isinstance(t, torch.Tensor) and t.device.type != "meta" for t in tree_leaves(args)):
        # A forward that looks at values does not run without them.
        yield copy_network, args


def _usual(model):
    found = (
        (layer, sizes)
        for layer in model.modules()
        for kind, sizes in _USUAL.items()
        if isinstance(layer, kind)
    )
    layer, sizes = next(found, (None, None))
    if layer is None:
        raise InputError(
            f"slimmable(): {type(model).__name__} has no convolution and no linear layer"
        )
    channels = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    for size in sizes:
        # Two of them, so that a reshape that mixes the batch in is seen as one.
        shape = (2, channels, *size)
        yield meta_twin, (torch.empty(shape, dtype=layer.weight.dtype, device="meta"),)
