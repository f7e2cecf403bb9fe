"""Parts of a network that keep their weights while the rest is trained: TRAIN.FREEZE."""

from fvcore.common.config import CfgNode
from torch import nn

from mutualvideo.errors import InputError
from mutualvideo.models.model_registry import network_of
from mutualvideo.slim import batch_norms


def freeze(model: nn.Module, cfg: CfgNode) -> None:
    """Freezes the first TRAIN.FREEZE of the network's stem and stages, with their BatchNorms.

    The full network normalises by the running statistics there; sub-networks by their own clips.

    Args:
        model: of ``build_model``.
        cfg: the configuration.

    Raises:
        InputError: if the network does not have as many, or does not say what they are.
    """
    count = cfg.TRAIN.FREEZE
    if not count:
        return
    about = network_of(cfg)
    stages = about.stages(model)
    if not 0 < count <= len(stages):
        there = f"has {len(stages)}" if stages else "does not say what its stages are"
        raise InputError(
            f"TRAIN.FREEZE {count}: so many parts, the stem being the first, keep their weights; "
            f"{about.name} {there}"
        )
    frozen = [part for stage in stages[:count] for part in stage]
    for part in frozen:
        part.requires_grad_(False)
        for _, norm in batch_norms(part):
            norm.frozen = True
