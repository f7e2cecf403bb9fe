"""Networks of other libraries, as their factories make them: what slimmable() is proven on."""

import functools

import timm
import torch
import torchvision
from pytorchvideo.models.csn import create_csn
from pytorchvideo.models.r2plus1d import create_r2plus1d
from pytorchvideo.models.resnet import create_resnet
from pytorchvideo.models.slowfast import create_slowfast
from pytorchvideo.models.x3d import create_x3d
from torch import nn

from tests.networks import few_blocks

image, video = torchvision.models, torchvision.models.video
_POOL = {"head_pool": nn.AdaptiveAvgPool3d, "head_pool_kernel_size": (1, 1, 1)}
# The temporal kernels of an inflated ResNet-50 (arXiv 1705.07750), as in PyTorchVideo's zoo.
_I3D = {
    "stem_conv_kernel_size": (5, 7, 7),
    "stage_conv_a_kernel_size": (
        (3, 1, 1),
        [(3, 1, 1), (1, 1, 1)],
        [(3, 1, 1), (1, 1, 1)],
        [(1, 1, 1), (3, 1, 1)],
    ),
}


def _pooling_all(network):
    """S3D pools no clip that is smaller than 13 x 209 x 209 otherwise."""
    network.avgpool = nn.AdaptiveAvgPool3d(1)
    return network


# name -> (factory, shape of the input without the batch)
ZOO = {
    "pytorchvideo_slow": (
        functools.partial(create_resnet, stem_conv_kernel_size=(1, 7, 7), **_POOL),
        (3, 4, 64, 64),
    ),
    "pytorchvideo_i3d": (functools.partial(create_resnet, **_I3D, **_POOL), (3, 4, 64, 64)),
    "pytorchvideo_x3d": (
        functools.partial(
            create_x3d,
            input_clip_length=4,
            input_crop_size=64,
            depth_factor=1.0,
            head_activation=None,
        ),
        (3, 4, 64, 64),
    ),
    "pytorchvideo_r2plus1d": (functools.partial(create_r2plus1d, **_POOL), (3, 4, 64, 64)),
    "pytorchvideo_csn": (functools.partial(create_csn, **_POOL), (3, 4, 64, 64)),
    "pytorchvideo_slowfast": (
        functools.partial(create_slowfast, head_pool_kernel_sizes=((2, 2, 2), (8, 2, 2))),
        None,
    ),
    "resnet18": (image.resnet18, (3, 64, 64)),
    "resnet50": (image.resnet50, (3, 64, 64)),
    "mobilenet_v2": (image.mobilenet_v2, (3, 64, 64)),
    "mobilenet_v3_large": (image.mobilenet_v3_large, (3, 64, 64)),
    "efficientnet_b0": (image.efficientnet_b0, (3, 64, 64)),
    "regnet_y_400mf": (image.regnet_y_400mf, (3, 64, 64)),
    "resnext50_32x4d": (image.resnext50_32x4d, (3, 64, 64)),
    "densenet": (functools.partial(image.DenseNet, block_config=(3, 3, 3, 3)), (3, 64, 64)),
    "vgg11_bn": (image.vgg11_bn, (3, 32, 32)),
    "squeezenet1_1": (image.squeezenet1_1, (3, 64, 64)),
    "r3d_18": (video.r3d_18, (3, 4, 32, 32)),
    "mc3_18": (video.mc3_18, (3, 4, 32, 32)),
    "r2plus1d_18": (video.r2plus1d_18, (3, 4, 32, 32)),
    "s3d": (lambda: _pooling_all(video.s3d()), (3, 8, 64, 64)),
    "timm_resnet50": (functools.partial(timm.create_model, "resnet50"), (3, 64, 64)),
    "timm_mobilenetv2": (functools.partial(timm.create_model, "mobilenetv2_100"), (3, 64, 64)),
}


def make_network(name, seed=0):
    """The network ``name`` in eval mode; PyTorchVideo's ResNet-50 has 8 blocks (a pathway)."""
    torch.manual_seed(seed)
    with few_blocks():
        return ZOO[name][0]().eval()


def make_input(name):
    """A batch of two that it takes."""
    shape = ZOO[name][1]
    if shape is None:
        return [torch.randn(2, 3, frames, 64, 64) for frames in (2, 8)]
    return torch.randn(2, *shape)


def run(network, x):
    """``network(x)``; PyTorchVideo's SlowFast writes into its list of pathways, so it gets one."""
    return network(list(x) if isinstance(x, list) else x)
