"""What a sub-network costs."""

from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from mutualvideo.slim.clip import input_shape
from mutualvideo.slim.convert import set_subnet
from mutualvideo.slim.layers import arriving_channels, slim_layers
from mutualvideo.slim.twin import meta_twin


def example_input(model, subnet, in_channels=3, device="meta"):
    """An empty clip (1, C, T, S, S), or image (1, C, S, S), for ``model`` as ``subnet``."""
    frames, size = input_shape(model, subnet)
    shape = (1, in_channels, size, size) if frames is None else (1, in_channels, frames, size, size)
    return torch.empty(shape, device=device)


@contextmanager
def record_arriving(model):
    """Yields ``{layer name: input channels}``, filled while ``model`` runs."""
    seen, handles = {}, []

    def watch(name, layer):
        def hook(_, inputs):
            count = arriving_channels(layer, inputs[0])
            if seen.setdefault(name, count) != count:
                raise RuntimeError(f"{name} is used with {seen[name]} and with {count} channels")

        handles.append(layer.register_forward_pre_hook(hook))

    for name, layer in slim_layers(model):
        watch(name, layer)
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class Costs:
    """What one clip (or image) through a sub-network costs.

    Attributes:
        macs: multiply-adds of convolutions and linear layers.
        params: parameters in use.
    """

    macs: int
    params: int


def count_macs(model, subnet, in_channels=3):
    """Multiply-adds of one clip (or image) through ``model`` as ``subnet``.

    Of convolutions and linear layers, the papers' convention: half of what
    ``torch.utils.flop_counter`` counts. Runs on the meta device, touches no data and leaves
    the model as it was.

    Args:
        model: a slimmable network.
        subnet: the sub-network to count.
        in_channels: channels of the input.

    Returns:
        int: multiply-adds.

    Raises:
        InputError: if the network cannot be switched to ``subnet``.
    """
    return count_costs(model, [subnet], in_channels)[subnet].macs


@torch.no_grad()
def count_costs(model, subnets, in_channels=3):
    """``{subnet: Costs}`` for many sub-networks; see :func:`count_macs`."""
    twin = meta_twin(model)
    layers = slim_layers(twin)
    slim_ids = {id(p) for _, layer in layers for p in layer.parameters(recurse=False)}
    rest = sum(p.numel() for p in twin.parameters() if id(p) not in slim_ids)
    costs = {}
    for subnet in subnets:
        set_subnet(twin, subnet)
        with FlopCounterMode(display=False) as counter, record_arriving(twin) as arriving:
            twin(example_input(twin, subnet, in_channels))
        used = [layer.active_parameters(arriving[name]) for name, layer in layers
                if name in arriving]
        costs[subnet] = Costs(counter.get_total_flops() // 2, rest + sum(used))
    return costs
