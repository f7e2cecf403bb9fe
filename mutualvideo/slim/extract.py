"""Cuts a sub-network out as a plain static network."""

import torch

from mutualvideo.errors import InputError
from mutualvideo.slim.channel_parameters import lenders
from mutualvideo.slim.convert import forget_slimming, reads, set_subnet, slim_state
from mutualvideo.slim.counting.macs import (
    arguments,
    has_values,
    meta_arguments,
    record_arriving,
    require_example,
)
from mutualvideo.slim.kernels.fold import fold_norms
from mutualvideo.slim.meta_copy import copy_network, meta_twin
from mutualvideo.slim.twin_base import slim_layers
from mutualvideo.subnet import Subnet


def extract(model, subnet, in_channels=3, fold=False, example=None):
    """The sub-network as a static ``nn.Module`` of plain torch layers, in eval mode.

    An own copy with its own BatchNorm statistics (those calibrated for ``subnet``, or else
    the prefix of the full network's); ``model`` is left as it was. Its answers equal those
    of ``model`` switched to ``subnet``. Every tensor owns its memory, so that a saved
    ``state_dict`` is as small as the sub-network. ``torch.export`` takes it as it is.

    Args:
        model: a slimmable network.
        subnet: which sub-network.
        in_channels: channels of the input.
        fold: whether every BatchNorm that follows a convolution or linear layer becomes part of
            it and ``nn.Identity`` takes its place. Faster, and no longer trainable as it was;
            answers differ by rounding.
        example: what the network takes, where that is not one clip of the sub-network's shape: a
            tensor, a list of tensors (one argument) or a tuple of positional arguments. Only
            shapes are used.

    Returns:
        ``nn.Module`` taking the clip that :func:`~mutualvideo.slim.subnet_input` makes.

    Raises:
        InputError: if the network cannot be switched to ``subnet``, or has a slimmable
            layer that its forward does not use.
    """
    slim_state(model)  # of what is no slimmable network: an error in words
    subnet = Subnet.of(subnet)
    args = meta_arguments(model, subnet, in_channels, example)
    arriving = _arriving(model, subnet, args, example)
    static = copy_network(model).eval()
    set_subnet(static, subnet)
    layers, plan = slim_layers(static), slim_state(static).plan
    state = slim_state(static)
    for name, _ in layers:
        if name in arriving:
            continue
        read = plan.inputs.get(name) if plan is not None else None
        if read is None and plan is not None and name in plan.lent:
            arriving[name] = reads(static.get_submodule(name))  # only its weight is used: all of it
            continue
        if read is None:
            raise InputError(f"extract(): the forward pass does not use {name}; exclude it by name")
        arriving[name] = read.active(state.width, state.divisor)  # it runs in training alone
    for module in lenders(static):
        module.to_static()
    for name, layer in layers:
        layer.to_static(arriving[name])
    forget_slimming(static)
    if fold:
        # Arguments of its own: a forward may have written into the first ones' lists.
        fold_norms(static, meta_arguments(model, subnet, in_channels, example))
    return static


@torch.no_grad()
def _arriving(model, subnet, args, example):
    """``{layer name: input channels}`` of ``subnet``, from one pass on the meta device."""
    with record_arriving(twin := meta_twin(model)) as seen:
        set_subnet(twin, subnet)
        try:
            twin(*args)
            return seen
        except InputError:
            raise
        except Exception as error:
            if not has_values(example):
                require_example(subnet, args, example, error)
                raise
    # A forward that looks at values does not run without them.
    with record_arriving(twin := copy_network(model).eval()) as seen:
        set_subnet(twin, subnet)
        twin(*arguments(example))
        return seen
