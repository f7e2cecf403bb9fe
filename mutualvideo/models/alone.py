"""A sub-network that trains alone starts as a network built that narrow would."""

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from mutualvideo.slim import extract, slim_state
from mutualvideo.slim.meta_copy import meta_twin

# How far the spread of a random layer may lie from what its rule says.
_TOLERANCE = 0.2


@torch.no_grad()
def train_alone(model: nn.Module) -> None:
    """Scales the random weights of a ``model`` that was just built to its only width.

    A layer's first weights are drawn with a spread that depends on how many channels it has, so
    the slice of a wide layer is not what a narrow one would have started from. All convolutions
    of the registry are drawn by He's rule over their outputs (``kaiming_normal_``, ``fan_out``),
    linear layers so, by torch's own rule over their inputs, or by one that knows no channels:
    which one, their spread tells. At width 1 nothing changes.

    Args:
        model: a slimmable network whose ``full`` sub-network is the one that will train, with
            random weights.
    """
    state = slim_state(model)
    narrow = dict(extract(meta_twin(model), state.full).named_parameters())
    for name, module in model.named_modules():
        if not isinstance(module, (_ConvNd, nn.Linear)):
            continue
        weight, kept = module.weight, narrow[f"{name}.weight"].shape
        outputs, inputs = weight.shape[0] / kept[0], weight.shape[1] / kept[1]
        weight *= _scale(weight, outputs, inputs)


def _scale(weight: torch.Tensor, outputs: float, inputs: float) -> float:
    """The factor on ``weight`` for so many times fewer outputs and inputs."""
    taps = weight[0, 0].numel()
    if _is_spread(weight, (2 / (weight.shape[0] * taps)) ** 0.5):
        return outputs**0.5
    if _is_spread(weight, (1 / (3 * weight.shape[1] * taps)) ** 0.5):
        return inputs**0.5
    return 1.0


def _is_spread(weight: torch.Tensor, expected: float) -> bool:
    spread = weight.std().item()
    return abs(spread - expected) <= _TOLERANCE * expected
