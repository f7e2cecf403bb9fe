"""ResNets for clips with one pathway (arXiv 1812.03982, 1711.07971), by PyTorchVideo."""

from fractions import Fraction
from typing import Any

from fvcore.common.config import CfgNode
from pytorchvideo.models.resnet import ResBlock, ResStage, create_resnet
from torch import nn

from mutualvideo.models.final_norms import reset_final_norms
from mutualvideo.models.model_registry import MODEL_REGISTRY
from mutualvideo.models.network import Network
from mutualvideo.models.non_local import add_nonlocals
from mutualvideo.models.temporal_kernels import require_depth, stage_kernels
from mutualvideo.models.weights.inflate import IMAGE_RESNET, IMAGE_RESNET_POOLED
from mutualvideo.models.weights.mutualnet_names import MUTUALNET
from mutualvideo.models.weights.pyslowfast_names import PYSLOWFAST, PYSLOWFAST_POOLED
from mutualvideo.slim import Ratio
from mutualvideo.subnet import Subnet

# By MODEL.ARCH: frames of the stem's kernel, temporal kernels of the blocks of each stage, and
# whether every two frames are pooled after the first stage.
_ARCHS = {
    "slow": (1, ((1,), (1,), (3,), (3,)), False),
    "c2d": (1, ((1,), (1,), (1,), (1,)), True),
    "i3d": (5, ((3,), (3, 1), (3, 1), (1, 3)), True),
    "slow_c2d": (1, ((1,), (1,), (1,), (1,)), False),
    "slow_i3d": (5, ((3,), (3, 1), (3, 1), (1, 3)), False),
}


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
    """Slow-only ResNet, C2D or I3D, with non-local blocks where NONLOCAL.LOCATION says so."""

    name = "ResNet"
    archs = tuple(_ARCHS)
    keys = {
        "MODEL.ARCH": None,
        "RESNET.DEPTH": None,
        "RESNET.NUM_BLOCK_TEMP_KERNEL": None,
        "NONLOCAL.LOCATION": None,
        "NONLOCAL.INSTANTIATION": None,
        "NONLOCAL.POOL": None,
    }
    blocks = (ResBlock,)
    formats = (PYSLOWFAST, PYSLOWFAST_POOLED, MUTUALNET, IMAGE_RESNET, IMAGE_RESNET_POOLED)
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

    def refusal(self, cfg: CfgNode, subnet: Subnet) -> str | None:
        arch = self.arch(cfg)
        if arch in _ARCHS and _ARCHS[arch][2] and subnet.frames == 1:
            return f"MODEL.ARCH {arch} pools every two frames, {subnet} has one"
        return None

    def build(self, cfg: CfgNode) -> nn.Module:
        stem, basis, pools = _ARCHS[self.arch(cfg)]
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
        for number, (place, stage) in enumerate(_stages(network)):
            network.blocks[place] = add_nonlocals(cfg, number, stage, _channels(stage))
        return network

    def rules(self, network: nn.Module) -> dict[str, Any]:
        rules: dict[str, Any] = {}
        for place, stage in _stages(network):
            rules |= bottleneck_rules(f"blocks.{place}", _channels(stage))
        return rules


def _stages(network: Any) -> list[tuple[int, ResStage]]:
    """Places and stages; pooling, where there is any, is a block of its own."""
    return [(n, block) for n, block in enumerate(network.blocks) if isinstance(block, ResStage)]


def _channels(stage: ResStage) -> int:
    return stage.res_blocks[0].branch2.conv_c.out_channels
