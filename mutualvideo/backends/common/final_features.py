"""The features of a clip: what enters the last linear layer of a torch network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from mutualvideo.errors import InputError

# How far the layer's own answer may be from the network's, by the precision of the arithmetic.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}


class _LastLinear(TorchFunctionMode):
    """Keeps what the last call of ``F.linear`` took and gave.

    It sees the calls of its own thread alone, and changes nothing in the network, which other
    threads may be using.
    """

    found: tuple[torch.Tensor, torch.Tensor] | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = func(*args, **(kwargs or {}))
        if func is F.linear:
            self.found = (args[0] if args else (kwargs or {})["input"]), given
        return given


def logits_and_features(
    network: Callable[[torch.Tensor], torch.Tensor], clips: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The network's logits, and what its last linear layer made them of.

    Where the head applies that layer to several positions and averages afterwards, as the video
    networks do, the features are the average of the positions: the layer is linear, so that it
    makes the same logits of them.

    Args:
        network: in eval mode, not compiled.
        clips: what it takes.

    Returns:
        logits (B, classes) and float32 features (B, D), on the network's device.

    Raises:
        InputError: if the network does not end in a linear layer.
    """
    with _LastLinear() as last:
        logits = network(clips)
    if last.found is not None:
        entered, given = (_average(tensor) for tensor in last.found)
        wanted = logits.detach().float()
        near = _TOLERANCE.get(last.found[1].dtype, 1e-3) * max(1.0, float(wanted.abs().max()))
        if given.shape == wanted.shape and bool(((given - wanted).abs() <= near).all()):
            return logits, entered
    raise InputError(
        f"features: {type(network).__name__} does not end in a linear layer that makes the scores: "
        "what would be its features is not known"
    )


def _average(tensor: torch.Tensor) -> torch.Tensor:
    """(B, ..., D) -> float32 (B, D)."""
    tensor = tensor.float()
    return tensor.flatten(1, -2).mean(1) if tensor.dim() > 2 else tensor
