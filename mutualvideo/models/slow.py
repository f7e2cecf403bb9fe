"""Slow-only ResNet (arXiv 1812.03982), from PyTorchVideo's factory."""

from fractions import Fraction
from typing import Any

from fvcore.common.config import CfgNode
from pytorchvideo.models.resnet import ResBlock, create_resnet
from torch import nn

from mutualvideo.errors import InputError
from mutualvideo.models.final_norms import reset_final_norms
from mutualvideo.models.model_registry import MODEL_REGISTRY
from mutualvideo.models.network import Network
from mutualvideo.models.weights.inflate import IMAGE_RESNET
from mutualvideo.models.weights.mutualnet_names import MUTUALNET
from mutualvideo.models.weights.pyslowfast_names import PYSLOWFAST
from mutualvideo.slim import Ratio

DEPTHS = (50, 101, 152)


def require_depth(cfg: CfgNode) -> int:
    """RESNET.DEPTH, if PyTorchVideo can build it."""
    if cfg.RESNET.DEPTH not in DEPTHS:
        raise InputError(f"RESNET.DEPTH {cfg.RESNET.DEPTH}: choose one of {DEPTHS}")
    return cfg.RESNET.DEPTH


def bottleneck_rules(prefix: str, channels: int) -> dict[str, Ratio]:
    """Inner widths of a stage's bottlenecks stay a quarter of the rounded output width.

    Args:
        prefix: name pattern of the stage's blocks, up to ``res_blocks``.
        channels: output channels of the stage's blocks.
    """
    rule = Ratio(channels, Fraction(1, 4))
    return {f"{prefix}.res_blocks.*.branch2.conv_{part}": rule for part in "ab"}


def plain_strides(network: nn.Module) -> None:
    """Makes ints of PyTorchVideo's strides: some are numpy's, no constants to a compiler."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.stride = tuple(map(int, module.stride))


@MODEL_REGISTRY.register()
class Slow(Network):
    """Slow-only ResNet: temporal kernels in the last two stages alone."""

    name = "ResNet"
    archs = ("slow",)
    keys = {"RESNET.DEPTH": None}
    blocks = (ResBlock,)
    formats = (PYSLOWFAST, MUTUALNET, IMAGE_RESNET)
    # Of Slow 8x8 on Kinetics-400, read off the figures of MutualNet (arXiv 2105.07085) and A3D
    # (arXiv 2011.12384) to 0.05 GMACs and 0.03 points.
    curves = {
        "slow": ("MutualNet, Slow 8x8", [
            (54.5, 75.55), (41.7, 75.18), (29.3, 74.60), (22.5, 74.26), (16.6, 73.97),
            (10.4, 72.95), (7.3, 72.28), (4.4, 70.72), (2.67, 68.65),
        ]),
        "slow-separate": (
            "Slow 8x8, trained separately", [(13.6, 70.1), (27.3, 72.6), (54.5, 74.8)],
        ),
    }  # fmt: skip

    def build(self, cfg: CfgNode) -> nn.Module:
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
        return network

    def rules(self, network: nn.Module) -> dict[str, Any]:
        rules: dict[str, Any] = {}
        for stage in range(4):
            rules |= bottleneck_rules(f"blocks.{stage + 1}", 256 * 2**stage)
        return rules
