"""A run that has come to nothing: when to say so."""

import torch

from mutualvideo.errors import InputError
from mutualvideo.run.checkpoint import newest_checkpoint


class DivergedError(InputError):
    """Too many steps had losses that are not finite, or the weights are not."""


def diverged(what, output_dir):
    """The error for a run of which ``what`` is true; it names the last good checkpoint."""
    newest = newest_checkpoint(output_dir) or "no checkpoint"
    return DivergedError(
        f"{what}; {newest} is the last good one. Lower SOLVER.BASE_LR, lengthen "
        "SOLVER.WARMUP_EPOCHS or set SOLVER.CLIP_GRAD_L2NORM"
    )


@torch.no_grad()
def require_finite(model, output_dir):
    """Raises :class:`DivergedError`, before a checkpoint is written, if a weight is not finite.

    A gradient can be finite and the step that is made of it not.
    """
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise diverged(f"{name} is not finite", output_dir)
