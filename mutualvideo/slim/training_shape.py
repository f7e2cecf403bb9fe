"""Which clips the full network is full with, and how BatchNorm splits them, for one step."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from mutualvideo.slim.convert import set_subnet, slim_state
from mutualvideo.slim.network_protocol import tell_full
from mutualvideo.subnet import Subnet


@contextmanager
def training_shape(model: nn.Module, full: Subnet, norm_parts: int = 1) -> Iterator[None]:
    """Within the block ``full`` is the full network of ``model``: it moves running statistics.

    Args:
        model: a slimmable network.
        full: at the widest width; its frames and size may be less than those of the full network.
        norm_parts: in training BatchNorm normalises so many parts of a batch, each by itself (with
            statistics over processes: the same part of all of them together); what moves is the
            mean and variance of all parts together. More parts than clips: one clip each.
    """
    state = slim_state(model)
    before = state.full, state.norm_parts
    if (full, norm_parts) == before:
        yield
        return
    state.full, state.norm_parts = full, norm_parts
    tell_full(model, full)
    try:
        yield
    finally:
        state.full, state.norm_parts = before
        if before[0] is not None:
            tell_full(model, before[0])
            set_subnet(model, before[0])
