"""Configurations and upstream twins of every registered network, shared by the tests."""

import torch
from pytorchvideo.models.resnet import create_resnet
from pytorchvideo.models.slowfast import create_slowfast
from pytorchvideo.models.x3d import create_x3d
from torch import nn

from mutualvideo.config import load_cfg

X3D_S = {"X3D.WIDTH_FACTOR": 2.0, "X3D.DEPTH_FACTOR": 2.2}
# name -> overrides; sizes are small so that the whole suite stays quick.
NETWORKS = {
    "X3D": {"MODEL.MODEL_NAME": "X3D", "MODEL.ARCH": "x3d", "DATA.NUM_FRAMES": 4, **X3D_S},
    "ResNet": {"MODEL.MODEL_NAME": "ResNet", "MODEL.ARCH": "slow", "DATA.NUM_FRAMES": 4},
    "SlowFast": {
        "MODEL.MODEL_NAME": "SlowFast", "MODEL.ARCH": "slowfast", "DATA.NUM_FRAMES": 32,
    },
}
# Of these shapes, at a crop of 64: the full network and three sub-networks of it.
SHAPES = ("1x4x64", "0.63x2x32", "0.8x3x48", "0.71x4x64")


def make_cfg(name, **overrides):
    """Configuration of the registered network ``name`` at a crop of 64 pixels."""
    keys = {"DATA.TRAIN_CROP_SIZE": 64, "DATA.TEST_CROP_SIZE": 64, **NETWORKS[name]}
    keys.update({key.replace("__", "."): value for key, value in overrides.items()})
    return load_cfg(None, [item for key, value in keys.items() for item in (key, str(value))])


def upstream(name, frames=4, size=64):
    """PyTorchVideo's own network, whose head pools exactly the given clip; gives logits."""
    cells = -(-size // 32)
    if name == "X3D":
        return create_x3d(
            input_clip_length=frames, input_crop_size=size, width_factor=2.0, depth_factor=2.2,
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
