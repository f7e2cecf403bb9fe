"""SlowFast (arXiv 1812.03982) with the adaptive lateral fusion of A3D (arXiv 2011.12384)."""

from typing import Any

import torch
from fvcore.common.config import CfgNode
from pytorchvideo.models.resnet import ResBlock
from pytorchvideo.models.slowfast import FuseFastToSlow, create_slowfast
from torch import nn
from torch.nn import functional as F

from mutualvideo.errors import InputError
from mutualvideo.models.final_norms import reset_final_norms
from mutualvideo.models.model_registry import MODEL_REGISTRY, whole_subnet
from mutualvideo.models.network import Network
from mutualvideo.models.non_local import add_nonlocals
from mutualvideo.models.slow import bottleneck_rules, plain_strides
from mutualvideo.models.temporal_kernels import require_depth, stage_kernels
from mutualvideo.models.weights.pyslowfast_names import PYSLOWFAST
from mutualvideo.slim import Fixed, frame_indices, resample_clip
from mutualvideo.subnet import Subnet

_STAGES = 4
# Temporal kernels of the blocks of each stage, of the Slow and of the Fast pathway.
_KERNELS = ((1,), (1,), (3,), (3,)), ((3,), (3,), (3,), (3,))


class AdaptiveFusion(FuseFastToSlow):
    """Lateral connection that follows whatever shape the Slow pathway has.

    The fused Fast features lose frames by even index, as the Slow clip did, and are resized
    bilinearly. Where the shapes agree, at the full network, this is upstream's connection.
    """

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        """[Slow (B, C, T, H, W), Fast (B, C', T', H', W')] -> [Slow with lateral, Fast]."""
        slow, fast = x
        fused = self.activation(self.norm(self.conv_fast_to_slow(fast)))
        if fused.shape[2] != slow.shape[2]:
            index = torch.tensor(frame_indices(fused.shape[2], slow.shape[2]), device=fused.device)
            fused = fused.index_select(2, index)
        if fused.shape[-2:] != slow.shape[-2:]:
            fused = F.interpolate(fused, slow.shape[2:], mode="trilinear", align_corners=False)
        return [torch.cat([slow, fused], 1), fast]


class SlowFastNet(nn.Module):
    """PyTorchVideo's SlowFast that takes one clip and makes its pathways inside.

    The Fast pathway sees the whole clip at every sub-network; the Slow pathway sees the
    sub-network's frames and size; so it is an
    :class:`~mutualvideo.slim.network_protocol.AdaptiveNetwork`. Parameters are upstream's:
    ``blocks.N...``.

    Args:
        blocks: upstream's ``blocks``.
        alpha: frames of the Fast pathway over frames of the Slow pathway.
        full: the :class:`~mutualvideo.Subnet` of the full network.
    """

    def __init__(self, blocks: nn.ModuleList, alpha: int, full: Subnet) -> None:
        super().__init__()
        self.blocks = blocks
        self.alpha = alpha
        assert full.frames is not None  # it takes clips
        self.full, self.full_frames = full, full.frames
        self.slow_shape: tuple[int | None, int] | None = None

    def check_subnet(self, subnet: Subnet) -> None:
        """Raises InputError if the Slow pathway cannot have the sub-network's frames."""
        if subnet.frames is None or subnet.frames > self.full_frames:
            raise InputError(
                f"sub-network {subnet}: the Slow pathway has 1 to {self.full_frames} frames"
            )

    def on_subnet(self, subnet: Subnet | None) -> None:
        """Remembers the Slow pathway's shape; called by ``set_subnet`` and ``set_width``."""
        self.slow_shape = None if subnet is None else (subnet.frames, subnet.size)

    def on_full(self, subnet: Subnet) -> None:
        """Takes clips for ``subnet`` from now on; called while training on shorter ones."""
        assert subnet.frames is not None
        self.full, self.full_frames = subnet, subnet.frames

    def clip_shape(self, subnet: Subnet) -> tuple[int, int]:
        """(frames, size) of the clip that goes in: the full one, larger only if Slow is."""
        return self.full_frames * self.alpha, max(self.full.size, subnet.size)

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        """Clip (B, 3, T, H, W) float -> logits (B, classes)."""
        frames, size = self.slow_shape or (clip.shape[2] // self.alpha, clip.shape[-1])
        x: Any = [resample_clip(clip, frames, size), clip]
        for block in self.blocks:
            x = block(x)
        return x


@MODEL_REGISTRY.register()
class SlowFast(Network):
    """SlowFast R50 (4x16, 8x8 and others) by the SLOWFAST keys; only Slow is slimmed."""

    name = "SlowFast"
    archs = ("slowfast",)
    keys = {
        "RESNET.DEPTH": None,
        "RESNET.NUM_BLOCK_TEMP_KERNEL": None,
        "NONLOCAL.LOCATION": None,
        "NONLOCAL.INSTANTIATION": None,
        "NONLOCAL.POOL": None,
        "SLOWFAST.ALPHA": (1, 1_000),
        "SLOWFAST.BETA_INV": (1, 1_000),
        "SLOWFAST.FUSION_CONV_CHANNEL_RATIO": (1, 100),
        "SLOWFAST.FUSION_KERNEL_SZ": (1, 1_000),
    }
    blocks = (ResBlock,)
    formats = (PYSLOWFAST,)
    # Of SlowFast 4x16 on Kinetics-400, read off the figures of MutualNet (arXiv 2105.07085) and
    # A3D (arXiv 2011.12384) to 0.05 GMACs and 0.03 points.
    curves = {
        "slowfast": ("MutualNet, SlowFast 4x16", [
            (36.1, 75.68), (27.6, 75.21), (22.15, 75.13), (17.4, 74.87), (14.7, 74.61),
            (12.4, 74.29), (10.2, 73.51), (8.86, 72.42), (8.29, 71.31), (7.62, 71.03),
        ]),
        "slowfast-separate": (
            "SlowFast 4x16, trained separately", [(21.8, 73.5), (36.1, 75.6)],
        ),
    }  # fmt: skip

    def full_frames(self, cfg: CfgNode) -> int:
        """Of the Slow pathway."""
        return cfg.DATA.NUM_FRAMES // cfg.SLOWFAST.ALPHA

    def build(self, cfg: CfgNode) -> nn.Module:
        alpha, beta_inv = cfg.SLOWFAST.ALPHA, cfg.SLOWFAST.BETA_INV
        if cfg.DATA.NUM_FRAMES % alpha:
            raise InputError(
                f"DATA.NUM_FRAMES {cfg.DATA.NUM_FRAMES} is not a multiple of SLOWFAST.ALPHA {alpha}"
            )
        kernel = cfg.SLOWFAST.FUSION_KERNEL_SZ
        fusion_ratio = cfg.SLOWFAST.FUSION_CONV_CHANNEL_RATIO
        network = create_slowfast(
            slowfast_channel_reduction_ratio=(beta_inv,),
            slowfast_conv_channel_fusion_ratio=fusion_ratio,
            slowfast_fusion_conv_kernel_size=(kernel, 1, 1),
            slowfast_fusion_conv_stride=(alpha, 1, 1),
            model_depth=require_depth(cfg),
            model_num_class=cfg.MODEL.NUM_CLASSES,
            dropout_rate=cfg.MODEL.DROPOUT_RATE,
            stem_dim_outs=(64, 64 // beta_inv),
            stage_conv_a_kernel_sizes=tuple(
                stage_kernels(cfg, basis, pathway) for pathway, basis in enumerate(_KERNELS)
            ),
            head_pool=nn.AdaptiveAvgPool3d,
        )
        plain_strides(network)
        if not cfg.RESNET.ZERO_INIT_FINAL_BN:
            reset_final_norms(network)
        for module in network.modules():
            if type(module) is FuseFastToSlow:
                module.__class__ = AdaptiveFusion
        for stage in range(_STAGES):
            pathways = network.blocks[stage + 1].multipathway_blocks
            channels = 256 * 2**stage, 256 * 2**stage // beta_inv
            for number, count in enumerate(channels):
                pathways[number] = add_nonlocals(cfg, stage, pathways[number], count, number)
        return SlowFastNet(network.blocks, alpha, whole_subnet(cfg))

    def rules(self, network: nn.Module) -> dict[str, Any]:
        rules: dict[str, Any] = {
            # Fast runs whole at every sub-network, and so does what it gives to Slow.
            "blocks.*.multipathway_blocks.1.*": Fixed(),
            "blocks.*.multipathway_fusion.*": Fixed(),
        }
        for stage in range(_STAGES):
            pathway = f"blocks.{stage + 1}.multipathway_blocks.0"
            rules |= bottleneck_rules(pathway, 256 * 2**stage)
        return rules
