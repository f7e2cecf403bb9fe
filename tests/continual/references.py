"""The plain network as the continual form is compared with, and small networks to compare."""

from contextlib import ExitStack, contextmanager
from unittest import mock

import torch
from fvcore.nn.squeeze_excitation import SqueezeExcitation
from torch import nn

from mutualvideo.models import build_model
from mutualvideo.slim import batch_norms, own_statistics, set_subnet
from mutualvideo.subnet import Subnet
from tests.networks import few_blocks, make_cfg, randomize_norms

# A block of each kind in every stage of X3D; Slow and its kin have few blocks by few_blocks().
SMALL = {"X3D": {"X3D__DEPTH_FACTOR": 1.0}, "ResNet": {}}


def small_network(name, seed=0, **settings):
    """In eval mode, its squeeze-excitation and norms far from neutral."""
    torch.manual_seed(seed)
    with few_blocks():
        model = build_model(
            make_cfg(name, MODEL__NUM_CLASSES=7, **{**SMALL[name], **settings})
        ).eval()
    randomize_norms(model)
    for module in model.modules():
        if isinstance(module, SqueezeExcitation):
            for parameter in module.parameters():
                nn.init.normal_(parameter, std=0.5)
    nn.init.normal_(model.blocks[-1].proj.weight, std=0.5)
    return model


def switched(model, width, frames=4, size=32):
    subnet = Subnet(width, frames, size)
    set_subnet(model, subnet)
    return subnet


def give_statistics(model, subnet):
    """Statistics of its own, unlike the full network's: a mix-up would show."""
    own_statistics(model, [subnet], torch.randn(1, 3, 4, 64, 64))
    for _, norm in batch_norms(model):
        mean, var = norm.statistics[subnet]
        norm.statistics[subnet] = mean + 0.1 * torch.randn_like(mean), 1.2 * var
    set_subnet(model, subnet)


@contextmanager
def over_windows(window):
    """The plain network's means over time are those of the last ``window`` frames.

    Squeeze-excitation's up to each frame, the head's up to the last. Convolutions are untouched.
    """

    def excite(self, x):
        means = x.mean((3, 4), keepdim=True)
        frames = [
            means[:, :, max(0, last + 1 - window) : last + 1].mean(2, keepdim=True)
            for last in range(x.shape[2])
        ]
        return x * self.block(torch.cat(frames, 2))

    def pool(self, x):
        return x[:, :, -window:].mean((2, 3, 4), keepdim=True)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(SqueezeExcitation, "forward", excite))
        stack.enter_context(mock.patch.object(nn.AdaptiveAvgPool3d, "forward", pool))
        yield


def plain(model, clip, window):
    """Logits of the plain network over a whole clip, its means over windows of frames."""
    with over_windows(window), torch.no_grad():
        return model(clip)
