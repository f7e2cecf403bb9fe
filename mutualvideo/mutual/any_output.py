"""What a step does with an answer that is not one score a class: maps, numbers, nests."""

import torch
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves, tree_map

from mutualvideo.errors import InputError


def as_float(output):
    """``output``, a nest, with its floating point tensors in float32."""
    if isinstance(output, torch.Tensor):
        return output.float()

    def convert(value):
        floating = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.float() if floating else value

    return tree_map(convert, output)


def teacher_of(output):
    """``output`` without its gradients: what sub-networks are taught."""
    return tree_map(lambda v: v.detach() if isinstance(v, torch.Tensor) else v, output)


def per_position(logits, probabilities):
    """Scores of a map as rows, with the teacher's for the same rows.

    Args:
        logits: float (B, classes, ...), a sub-network's.
        probabilities: float (B, classes, ...), the teacher's; where its map has another size,
            it is averaged (or repeated) to that of ``logits``.

    Returns:
        Two tensors (B x positions, classes).
    """
    size = logits.shape[2:]
    if probabilities.shape[2:] != size:
        pool = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
        probabilities = pool[len(size)](probabilities, tuple(size))
    return tuple(t.movedim(1, -1).reshape(-1, t.shape[1]) for t in (logits, probabilities))


def imitation_loss(output, teacher):
    """Mean squared error between two nests of the same structure, summed over their tensors.

    Raises:
        InputError: if their structures or shapes differ: then the caller has to say how one
            teaches the other.
    """
    pairs = list(zip(_floating(output), _floating(teacher), strict=False))
    if not pairs or any(a.shape != b.shape for a, b in pairs):
        raise InputError(
            "mutual_step(): a sub-network's output does not have the shape of the full network's, "
            "so it cannot imitate it: give distill=, a function of both outputs"
        )
    return sum(F.mse_loss(a, b) for a, b in pairs)


def _floating(output):
    return [t for t in tree_leaves(output) if torch.is_tensor(t) and t.is_floating_point()]


def count_among(output, targets):
    """How many answers' highest score is of one of the labels: marks (B, classes) above 1/2."""
    best = output.detach().argmax(1, keepdim=True)
    return (targets.gather(1, best) > 0.5).sum()


def count_correct(output, targets):
    """How many labels got the highest score; 0 where scores and labels do not belong together."""
    if isinstance(output, torch.Tensor) and isinstance(targets, torch.Tensor) and output.dim() > 1:
        answers = output.detach().argmax(1)
        labels = targets
        if targets.is_floating_point():
            labels = targets.argmax(1) if targets.shape == output.shape else None
        if labels is not None and labels.shape == answers.shape:
            return (answers == labels).sum()
    device = next((t.device for t in tree_leaves(output) if torch.is_tensor(t)), None)
    return torch.zeros((), dtype=torch.int64, device=device)
