"""ResNets for clips with one pathway (arXiv 1812.03982, 1711.07971), by PyTorchVideo."""

from fractions import Fraction

from pytorchvideo.models.resnet import create_resnet
from torch import nn

from mutualvideo.models.model_registry import MODEL_REGISTRY, require_arch, reset_final_norms
from mutualvideo.models.non_local import add_nonlocals
from mutualvideo.models.temporal_kernels import require_depth, stage_kernels
from mutualvideo.slim import Ratio

# By MODEL.ARCH: frames of the stem's kernel, temporal kernels of the blocks of each stage, and
# whether every two frames are pooled after the first stage.
_ARCHS = {
    "slow": (1, ((1,), (1,), (3,), (3,)), False),
    "c2d": (1, ((1,), (1,), (1,), (1,)), True),
    "i3d": (5, ((3,), (3, 1), (3, 1), (1, 3)), True),
    "slow_c2d": (1, ((1,), (1,), (1,), (1,)), False),
    "slow_i3d": (5, ((3,), (3, 1), (3, 1), (1, 3)), False),
}


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
    """Slow-only ResNet, C2D or I3D, with non-local blocks where NONLOCAL.LOCATION says so."""
    require_arch(cfg, *_ARCHS)
    stem, basis, pools = _ARCHS[cfg.MODEL.ARCH]
    network = create_resnet(
        model_depth=require_depth(cfg),
        model_num_class=cfg.MODEL.NUM_CLASSES,
        dropout_rate=cfg.MODEL.DROPOUT_RATE,
        stem_conv_kernel_size=(stem, 7, 7),
        stage1_pool=nn.MaxPool3d if pools else None,
        stage_conv_a_kernel_size=stage_kernels(cfg, basis),
        head_pool=nn.AdaptiveAvgPool3d,
    )
    plain_strides(network)
    if not cfg.RESNET.ZERO_INIT_FINAL_BN:
        reset_final_norms(network)
    rules = {}
    for stage in range(4):
        # Pooling is a block of its own.
        place, channels = 1 + stage + (pools and stage > 0), 256 * 2**stage
        network.blocks[place] = add_nonlocals(cfg, stage, network.blocks[place], channels)
        rules |= bottleneck_rules(f"blocks.{place}", channels)
    return network, {"rules": rules}
