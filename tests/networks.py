"""Configurations and upstream twins of every registered network, shared by the tests."""

from contextlib import contextmanager
from functools import partial
from unittest import mock

import torch
import torchvision
from pytorchvideo.models import resnet, slowfast
from pytorchvideo.models.resnet import create_resnet
from pytorchvideo.models.slowfast import create_slowfast
from pytorchvideo.models.x3d import create_x3d
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from mutualvideo.config import load_cfg, takes_pictures
from mutualvideo.models import MODEL_REGISTRY, mobilenet, resnet2d
from mutualvideo.subnet import Subnet

# What makes a network small, where four frames and no dropout do not: the suite shall stay quick.
_SMALL = {
    "X3D": {"X3D.WIDTH_FACTOR": 2.0, "X3D.DEPTH_FACTOR": 1.0},
    "SlowFast": {"DATA.NUM_FRAMES": 32},
    "WideResNet": {"WIDERESNET.DEPTH": 10, "WIDERESNET.WIDEN_FACTOR": 4},
}


def _settings(name, about):
    keys = {"MODEL.DROPOUT_RATE": 0} if about.takes_pictures else {"DATA.NUM_FRAMES": 4}
    return {"MODEL.MODEL_NAME": name, **keys, **_SMALL.get(name, {})}


# Every network that the package has -> overrides.
NETWORKS = {name: _settings(name, about) for name, about in MODEL_REGISTRY.all().items()}
# Of these shapes, at a crop of 64: the full network and three sub-networks of it.
_SHAPES = ((1, 4, 64), (0.63, 2, 32), (0.8, 3, 48), (0.71, 4, 64))
# Those that another library makes.
UPSTREAM = ("X3D", "ResNet", "SlowFast", "MobileNetV2", "ImageResNet")


def make_cfg(name, **overrides):
    """Configuration of the registered network ``name`` at a crop of 64 pixels."""
    keys = {"DATA.TRAIN_CROP_SIZE": 64, "DATA.TEST_CROP_SIZE": 64, **NETWORKS[name]}
    keys.update({key.replace("__", "."): value for key, value in overrides.items()})
    return load_cfg(None, [item for key, value in keys.items() for item in (key, str(value))])


@contextmanager
def few_blocks():
    """ResNet-50, SlowFast and the MobileNets are built of half of their blocks or fewer.

    Of every kind that there is: each stage's first one, and one that follows it. PyTorchVideo's
    and torchvision's ResNet-50 have 8 instead of 16, a pathway.
    """
    few, v1 = {50: (2, 2, 2, 2)}, ((64, 1), (128, 2), (128, 1), (256, 2), (512, 2), (1024, 2))
    # Expansion, channels, number of blocks, stride of the first.
    v2 = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2], [6, 96, 1, 1], [6, 320, 1, 2]]
    small_v2 = partial(torchvision.models.mobilenet_v2, inverted_residual_setting=v2)
    with (
        mock.patch.dict(resnet._MODEL_STAGE_DEPTH, few),
        mock.patch.dict(slowfast._MODEL_STAGE_DEPTH, few),
        mock.patch.dict(resnet2d._RESNETS, {50: partial(ResNet, Bottleneck, few[50])}),
        mock.patch.object(mobilenet, "_BLOCKS", v1),
        mock.patch.object(mobilenet, "mobilenet_v2", small_v2),
    ):
        yield


def make_clip(cfg, batch=2, **kwargs):
    """Clips, or pictures, as the full network takes them."""
    frames = () if takes_pictures(cfg) else (cfg.DATA.NUM_FRAMES,)
    size = cfg.DATA.TRAIN_CROP_SIZE
    return torch.randn(batch, 3, *frames, size, size, **kwargs)


def subnets(cfg):
    """The full network and three sub-networks."""
    pictures = takes_pictures(cfg)
    return [Subnet(width, None if pictures else frames, size) for width, frames, size in _SHAPES]


def upstream(name, frames=4, size=64):
    """The other library's network, whose head pools exactly the given clip; gives logits."""
    if name == "MobileNetV2":
        return torchvision.models.mobilenet_v2(num_classes=400, dropout=0)
    if name == "ImageResNet":
        return torchvision.models.resnet50(num_classes=400)
    cells = -(-size // 32)
    if name == "X3D":
        return create_x3d(
            input_clip_length=frames,
            input_crop_size=size,
            width_factor=2.0,
            depth_factor=1.0,
            head_activation=None,
        )
    if name == "ResNet":
        return create_resnet(
            stem_conv_kernel_size=(1, 7, 7), head_pool_kernel_size=(frames, cells, cells)
        )
    return create_slowfast(
        slowfast_fusion_conv_kernel_size=(5, 1, 1),
        slowfast_fusion_conv_stride=(8, 1, 1),
        head_pool_kernel_sizes=((frames, cells, cells), (8 * frames, cells, cells)),
    )


def upstream_input(name, clip):
    """What the upstream network takes: SlowFast wants its pathways as a list."""
    if name != "SlowFast":
        return clip
    slow = torch.linspace(0, clip.shape[2] - 1, clip.shape[2] // 8).long()
    return [clip[:, :, slow], clip]


def randomize_norms(network, seed=0):
    """Statistics and affine parameters unlike the initial ones, so that a mix-up shows."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            shape = module.weight.shape
            module.running_mean.copy_(torch.randn(shape, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(shape, generator=generator) + 0.5)
            with torch.no_grad():
                module.weight.copy_(torch.rand(shape, generator=generator) / 2 + 0.5)
                module.bias.copy_(torch.randn(shape, generator=generator) * 0.1)
