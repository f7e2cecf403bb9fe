"""Slow-only ResNet (arXiv 1812.03982), from PyTorchVideo's factory."""

from fractions import Fraction

from pytorchvideo.models.resnet import create_resnet
from torch import nn

from mutualvideo.errors import InputError
from mutualvideo.models.model_registry import MODEL_REGISTRY, require_arch, reset_final_norms
from mutualvideo.slim import Ratio

DEPTHS = (50, 101, 152)


def require_depth(cfg):
    """RESNET.DEPTH, if PyTorchVideo can build it."""
    if cfg.RESNET.DEPTH not in DEPTHS:
        raise InputError(f"RESNET.DEPTH {cfg.RESNET.DEPTH}: choose one of {DEPTHS}")
    return cfg.RESNET.DEPTH


def bottleneck_rules(prefix, channels):
    """Inner widths of a stage's bottlenecks stay a quarter of the rounded output width.

    Args:
        prefix: name pattern of the stage's blocks, up to ``res_blocks``.
        channels: output channels of the stage's blocks.
    """
    rule = Ratio(channels, Fraction(1, 4))
    return {f"{prefix}.res_blocks.*.branch2.conv_{part}": rule for part in "ab"}


def plain_strides(network):
    """Makes ints of PyTorchVideo's strides: some are numpy's, no constants to a compiler."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.stride = tuple(map(int, module.stride))


@MODEL_REGISTRY.register()
def ResNet(cfg):
    """Slow-only ResNet: temporal kernels in the last two stages alone."""
    require_arch(cfg, "slow")
    network = create_resnet(
        model_depth=require_depth(cfg),
        model_num_class=cfg.MODEL.NUM_CLASSES,
        dropout_rate=cfg.MODEL.DROPOUT_RATE,
        stem_conv_kernel_size=(1, 7, 7),
        head_pool=nn.AdaptiveAvgPool3d,
    )
    plain_strides(network)
    if not cfg.RESNET.ZERO_INIT_FINAL_BN:
        reset_final_norms(network)
    rules = {}
    for stage in range(4):
        rules |= bottleneck_rules(f"blocks.{stage + 1}", 256 * 2**stage)
    return network, {"rules": rules}
