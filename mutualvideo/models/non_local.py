"""Non-local blocks (arXiv 1711.07971) between the residual blocks of a stage."""

from typing import Any

import torch
from fvcore.common.config import CfgNode
from pytorchvideo.layers.nonlocal_net import NonLocal, create_nonlocal
from pytorchvideo.models.resnet import ResStage
from pytorchvideo.models.weight_init import init_net_weights
from torch import nn
from torch.nn import functional as F

from mutualvideo.errors import InputError, shown

_KINDS = ("dot_product", "softmax")
# Windows over (frames, height, width) that keys and values are pooled by, where none are given.
_POOL = (1, 2, 2)


class NonLocalBlock(NonLocal):
    """PyTorchVideo's block, which reads its inner width off its tensors and so can be slimmed.

    Where a clip has fewer frames or pixels than the pooling window, the window is what is there.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, T, H, W) float -> the same shape."""
        query = self.conv_theta(x).flatten(2)
        pooled = self._pooled(x)
        key, value = self.conv_phi(pooled).flatten(2), self.conv_g(pooled).flatten(2)
        affinity = query.transpose(1, 2) @ key  # (B, positions, pooled positions)
        if self.instantiation == "softmax":
            affinity = (affinity * query.shape[1] ** -0.5).softmax(2)
        else:
            affinity = affinity / affinity.shape[2]
        gathered = (value @ affinity.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.norm(self.conv_out(gathered))

    def _pooled(self, x: torch.Tensor) -> torch.Tensor:
        if self.pool is None:
            return x
        windows = [min(pair) for pair in zip(self.pool.kernel_size, x.shape[2:], strict=True)]
        return F.max_pool3d(x, windows, windows)


class NonLocalStage(ResStage):
    """A stage with non-local blocks after some of its residual blocks, which keep their names.

    Args:
        res_blocks: upstream's ``nn.ModuleList``.
        nonlocals: ``{number of the residual block before it: NonLocalBlock}``.
    """

    def __init__(self, res_blocks: nn.ModuleList, nonlocals: dict[int, NonLocalBlock]) -> None:
        super().__init__(res_blocks)
        self.nonlocals = nn.ModuleDict({str(number): nonlocals[number] for number in nonlocals})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, T, H, W) float -> (B, C', T, H', W')."""
        for number, block in enumerate(self.res_blocks):
            x = block(x)
            if str(number) in self.nonlocals:
                x = self.nonlocals[str(number)](x)
        return x


def add_nonlocals(
    cfg: CfgNode, stage_number: int, stage: Any, channels: int, pathway: int = 0
) -> nn.Module:
    """``stage``, with the non-local blocks that NONLOCAL.LOCATION wants in it.

    Args:
        cfg: the configuration; its ``NONLOCAL`` and ``RESNET`` sections are read.
        stage_number: 0 (res2) to 3 (res5).
        stage: PyTorchVideo's ``ResStage``.
        channels: of its output.
        pathway: 0, or 1: the Fast pathway.

    Returns:
        ``stage`` itself where it is to have none.

    Raises:
        InputError: for a place that does not exist, or an unknown kind.
    """
    places = _of_pathway(cfg.NONLOCAL.LOCATION, "LOCATION", stage_number, pathway) or []
    if not places:
        return stage
    kind = cfg.NONLOCAL.INSTANTIATION
    if kind not in _KINDS:
        raise InputError(f"NONLOCAL.INSTANTIATION {kind}: choose one of {', '.join(_KINDS)}")
    window = _of_pathway(cfg.NONLOCAL.POOL, "POOL", stage_number, pathway) or list(_POOL)
    if len(window) != 3 or not all(type(n) is int and n > 0 for n in window):
        raise InputError(f"NONLOCAL.POOL holds {shown(window)}, expected three whole numbers")
    count, blocks = len(stage.res_blocks), {}
    for place in places:
        if type(place) is not int or not 0 <= place < count:
            raise InputError(
                f"NONLOCAL.LOCATION holds {shown(place)} for res{stage_number + 2}, whose residual "
                f"blocks are numbered 0 to {count - 1}"
            )
        blocks[place] = _make(channels, window, kind, cfg.RESNET.ZERO_INIT_FINAL_BN)
    return NonLocalStage(stage.res_blocks, blocks)


def _make(channels: int, window: list[int], kind: str, starts_as_identity: bool) -> NonLocalBlock:
    made = create_nonlocal(
        dim_in=channels, dim_inner=channels // 2, pool_size=window, instantiation=kind
    )
    made.__class__ = NonLocalBlock
    made.norm.block_final_bn = starts_as_identity
    init_net_weights(made)
    return made


def _of_pathway(lists: Any, key: str, stage_number: int, pathway: int) -> Any:
    """What a list of [stage][pathway] says; ``None`` where the list is empty."""
    if not lists:
        return None
    try:
        found = lists[stage_number][pathway]
        if len(lists) == 4 and isinstance(found, (list, tuple)):
            return found
    except (IndexError, TypeError):
        pass
    raise InputError(
        f"NONLOCAL.{key} is {shown(lists)}, expected a list for each of the four stages, of one "
        "list for each pathway"
    )
