"""Libraries that draw from torch's global generator, made to draw from one of ours."""

from contextlib import contextmanager

import torch


@contextmanager
def seeded_draws(seed):
    """Within the block the global generator of the CPU starts at ``seed``; then as before.

    Other devices' generators are left alone, which ``torch.manual_seed`` would not do.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(seed))
        yield
