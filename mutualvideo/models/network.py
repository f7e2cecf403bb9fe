"""What a network says about itself: the one thing to write for a new one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from fvcore.common.config import CfgNode
from torch import nn

from mutualvideo.models.weights.weights_format import WeightsFormat
from mutualvideo.slim import slimmable
from mutualvideo.subnet import Subnet

# (name of a curve, [(GMACs of one clip or picture, top-1 in percent), ...])
Curve = tuple[str, Sequence[tuple[float, float]]]
# Lowest and highest value, both allowed.
Bounds = tuple[float, float]


class Network(ABC):
    """A network by its name; subclass it in the network's own file and register the class.

    Nothing else has to name the network: configurations, checks, loading of weights, activation
    checkpointing, plots and the tests ask the registry.

    Attributes:
        name: what MODEL.MODEL_NAME says.
        takes_pictures: it takes pictures (B, 3, H, W), not clips (B, 3, T, H, W); float32.
        archs: what MODEL.ARCH may say of it, as in PySlowFast's files, the first one where it says
            nothing; other values are refused. Empty: it should say nothing.
        min_size: the least height and width in pixels, as many as the network reduces to one.
        has_dropout: whether MODEL.DROPOUT_RATE means something; else it must be 0.
        keys: ``{configuration key: bounds}`` of its own keys, which decide the shapes of its
            weights. A checkpoint with other values is of another network. Bounds keep a damaged
            or hostile checkpoint from asking for a network that takes all memory; ``None``: the
            network itself checks the value.
        blocks: classes of the blocks that it is made of, for activation checkpointing
            (MODEL.ACT_CHECKPOINT): forwards that do nothing but return their output.
        formats: what other libraries' files of its weights look like.
        curves: published curves, by the name that ``tools/flops_table.py --overlay`` takes.
    """

    name: ClassVar[str]
    takes_pictures: ClassVar[bool] = False
    archs: ClassVar[tuple[str, ...]] = ()
    min_size: ClassVar[int] = 32
    has_dropout: ClassVar[bool] = True
    keys: ClassVar[Mapping[str, Bounds | None]] = {}
    blocks: ClassVar[tuple[type[nn.Module], ...]] = ()
    formats: ClassVar[tuple[WeightsFormat, ...]] = ()
    curves: ClassVar[Mapping[str, Curve]] = {}

    @abstractmethod
    def build(self, cfg: CfgNode) -> nn.Module:
        """An ordinary network with random weights, not slimmable; returns logits (B, classes).

        Raises:
            InputError: for settings that go with no network.
        """

    def slimmed(
        self, network: nn.Module, cfg: CfgNode, widths: Sequence[float], full: Subnet
    ) -> nn.Module:
        """What :meth:`build` made, slimmable in place.

        Args:
            network: on the CPU, with the weights that it has.
            cfg: the configuration.
            widths: narrowest and widest width multiplier.
            full: the sub-network that learns from the labels.
        """
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eps, module.momentum = cfg.BN.EPSILON, cfg.BN.MOMENTUM
        size = cfg.DATA.TRAIN_CROP_SIZE
        shape = (size, size) if self.takes_pictures else (cfg.DATA.NUM_FRAMES, size, size)
        return slimmable(
            network,
            example=torch.empty(2, 3, *shape, device="meta"),
            width_range=widths,
            divisor=cfg.MUTUAL.DIVISOR,
            full=full,
            rules=self.rules(network),
        )

    def rules(self, network: nn.Module) -> dict[str, Any]:
        """``rules`` for ``slimmable`` of what :meth:`build` made: by default none."""
        return {}

    def stages(self, network: nn.Module) -> list[list[nn.Module]]:
        """The stem and the stages of what :meth:`build` made, without the head, for TRAIN.FREEZE.

        Each is a list of modules. By default PyTorchVideo's ``blocks`` but the last, or all of
        torchvision's ``features``; empty: it does not say.
        """
        if isinstance(features := getattr(network, "features", None), nn.Sequential):
            return [[block] for block in features]
        blocks = getattr(network, "blocks", None)
        if not isinstance(blocks, nn.ModuleList):
            return []
        return [[block] for block in blocks[:-1] if any(True for _ in block.parameters())]

    def arch(self, cfg: CfgNode) -> str:
        """MODEL.ARCH, or where nobody gave it the first of ``archs``; empty if there is none."""
        return cfg.MODEL.ARCH or next(iter(self.archs), "")

    def refusal(self, cfg: CfgNode, subnet: Subnet) -> str | None:
        """Why it cannot run ``subnet``, beside frames and sizes out of range; ``None``: it can."""
        return None

    def full_frames(self, cfg: CfgNode) -> int | None:
        """Frames of the full sub-network, those of its clips; ``None``: it takes pictures."""
        return None if self.takes_pictures else cfg.DATA.NUM_FRAMES

    def published(self, cfg: CfgNode) -> list[Curve]:
        """Published curves of just this network and data set, to draw beside its own table."""
        return []
