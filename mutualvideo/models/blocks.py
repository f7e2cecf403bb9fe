"""The blocks that networks are made of, for activation checkpointing."""

from pytorchvideo.models.resnet import ResBlock
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.resnet import BasicBlock, Bottleneck

from mutualvideo.errors import InputError
from mutualvideo.models.mobilenet import SeparableBlock
from mutualvideo.models.wideresnet import PreActBlock
from mutualvideo.slim.recompute import recompute

_BLOCKS = (ResBlock, InvertedResidual, BasicBlock, Bottleneck, SeparableBlock, PreActBlock)


def blocks(model):
    """Every block of ``model``, in the order of registration; no block is in another."""
    return [module for module in model.modules() if isinstance(module, _BLOCKS)]


def recompute_blocks(model):
    """MODEL.ACT_CHECKPOINT: training keeps the inputs of blocks, and what is outside of them.

    Returns:
        int: how many blocks there are.

    Raises:
        InputError: if there is none.
    """
    found = blocks(model)
    if not found:
        names = ", ".join(kind.__name__ for kind in _BLOCKS)
        raise InputError(
            f"MODEL.ACT_CHECKPOINT: {type(model).__name__} has none of the blocks that are known "
            f"({names}): set it to False"
        )
    recompute(model, found)
    return len(found)
