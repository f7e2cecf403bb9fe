"""The blocks that networks are made of, for activation checkpointing."""

from torch import nn

from mutualvideo.errors import InputError
from mutualvideo.models.model_registry import all_networks
from mutualvideo.slim.recompute import recompute


def blocks(model: nn.Module) -> list[nn.Module]:
    """Every block of ``model``, in the order of registration; no block is in another."""
    return [module for module in model.modules() if isinstance(module, _kinds())]


def recompute_blocks(model: nn.Module) -> int:
    """MODEL.ACT_CHECKPOINT: training keeps the inputs of blocks, and what is outside of them.

    Returns:
        How many blocks there are.

    Raises:
        InputError: if there is none.
    """
    found = blocks(model)
    if not found:
        names = ", ".join(kind.__name__ for kind in _kinds())
        raise InputError(
            f"MODEL.ACT_CHECKPOINT: {type(model).__name__} has none of the blocks that are known "
            f"({names}): set it to False"
        )
    recompute(model, found)
    return len(found)


def _kinds() -> tuple[type[nn.Module], ...]:
    """The classes of blocks that the registered networks name."""
    return tuple(dict.fromkeys(kind for network in all_networks() for kind in network.blocks))
