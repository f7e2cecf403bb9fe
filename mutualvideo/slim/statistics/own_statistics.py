"""The full network's running statistics as those of a sub-network."""

import torch

from mutualvideo.errors import InputError
from mutualvideo.slim.batch_norm_layers import batch_norms
from mutualvideo.slim.every_subnet import each_subnet
from mutualvideo.slim.statistics.calibrate import as_before


@torch.no_grad()
def own_statistics(model, subnets, clip):
    """Gives sub-networks the part of the full network's running statistics that they use.

    The other choice is :func:`~mutualvideo.slim.calibrate`, which a network needs whose widths
    were trained together. One that was trained at one width and size, such as a released network
    run at smaller sizes, may be better with the statistics that it was trained with.

    Args:
        model: a slimmable network.
        subnets: which sub-networks; what statistics they had are replaced.
        clip: full-size, float32 (B, C, T, H, W) or (B, C, H, W), on the model's device; shows
            which channels arrive where, its values do not matter.

    Raises:
        InputError: if a BatchNorm has no running statistics, or a sub-network cannot be run.
    """
    subnets = list(dict.fromkeys(subnets))
    norms = batch_norms(model)
    for name, norm in norms:
        if norm.running_mean is None:
            raise InputError(f"own statistics: {name} keeps no running statistics; calibrate it")
        for subnet in subnets:
            norm.statistics.pop(subnet, None)

    def adopt(norm, inputs):
        part = norm.population(inputs[0].shape[1])
        norm.statistics[norm.slim.subnet] = tuple(tensor.detach().clone() for tensor in part)

    with as_before(model):
        model.eval()
        hooks = [norm.register_forward_pre_hook(adopt) for _, norm in norms]
        try:
            for _, x in each_subnet(model, clip, subnets):
                model(x)
        finally:
            for hook in hooks:
                hook.remove()
