"""Activation checkpointing: blocks whose inner activations are computed anew for the backward pass.

Recomputing runs a block's forward a second time. It is the same sub-network whatever was switched
to since, draws the same dropout, and moves no running statistics again.
"""

from contextlib import contextmanager, nullcontext
from functools import cache

import torch
from torch.utils.checkpoint import checkpoint

from mutualvideo.slim.convert import slim_state


def recompute(model, blocks):
    """Keeps of each of ``blocks``, in training, nothing but its input until the backward pass.

    The blocks' classes are exchanged, so no name, parameter or hook changes. Without gradients,
    and in eval, they run as before.

    Args:
        model: a slimmable network.
        blocks: modules of it whose forward has no effect but its output and what BatchNorm
            counts.
    """
    state = slim_state(model)
    for block in blocks:
        block.__class__ = _recomputed(type(block))
        block.recompute_state = state


class _Recomputed:
    """Mixed in before a block's class."""

    def forward(self, *args):
        run = super().forward
        if not (self.training and torch.is_grad_enabled()):
            return run(*args)
        if torch.compiler.is_compiling():  # a graph recomputes numbers and repeats no effect
            return checkpoint(run, *args, use_reentrant=False)
        return checkpoint(run, *args, use_reentrant=False, context_fn=self._contexts)

    def _contexts(self):
        """What the forward pass runs in, and what recomputing it does."""
        state = self.recompute_state
        return nullcontext(), _again(state, state.width, state.subnet)


@cache
def _recomputed(own):
    return type(own.__name__, (_Recomputed, own), {})


@contextmanager
def _again(state, width, subnet):
    before = state.width, state.subnet, state.recomputing
    state.select(width, subnet)
    state.recomputing = True
    try:
        yield
    finally:
        state.select(*before[:2])
        state.recomputing = before[2]
