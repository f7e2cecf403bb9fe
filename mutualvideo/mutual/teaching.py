"""How sub-networks learn from the full network: the loss, what it counts, whom it follows."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from mutualvideo.errors import InputError
from mutualvideo.mutual.any_output import count_among, count_correct, per_position


def distillation_loss(logits, teacher):
    """KL divergence of a sub-network's answer from the full network's.

    Args:
        logits: (B, classes), the sub-network's, any floating dtype; or a map of scores
            (B, classes, ...), of any size.
        teacher: (B, classes) float32 probabilities, detached; or a map of them.

    Returns:
        Scalar float32, mean over the batch (and the positions).
    """
    if logits.dim() > 2:
        logits, teacher = per_position(logits, teacher)
    return F.kl_div(F.log_softmax(logits.float(), 1), teacher, reduction="batchmean")


def binary_distillation_loss(logits, teacher):
    """The same where every class is a question of its own: the KL divergence of yes and no.

    Args:
        logits: (B, classes), the sub-network's, any floating dtype.
        teacher: (B, classes) float32 probabilities from 0 to 1, detached; they need not sum to 1.

    Returns:
        Scalar float32, mean over the batch and the classes, as the binary cross-entropy is.
    """
    cross = F.binary_cross_entropy_with_logits(logits.float(), teacher)
    own = torch.xlogy(teacher, teacher) + torch.xlogy(1 - teacher, 1 - teacher)
    return cross + own.mean()


def label_loss(logits, targets, label_smoothing=0.0, multi_label=False, weights=None):
    """What the full network learns from: (binary) cross-entropy on the labels.

    Args:
        logits: (B, classes, ...), any floating dtype.
        targets: labels, int64 (B, ...), or shares of the classes, float (B, classes, ...); with
            ``multi_label`` float (B, classes), from 0 to 1.
        label_smoothing: 0 to 1. With ``multi_label`` targets go this far to 1/2.
        multi_label: every class is a question of its own.
        weights: float (classes,): of the loss of a label's class, which changes the gradients'
            size too (torch would divide by the weights of the batch: then parts of a batch would
            not add up to it); with ``multi_label`` of the labels that are there (``pos_weight``).

    Returns:
        Scalar float32, mean over the batch (and positions); with ``multi_label`` also the classes.
    """
    if multi_label:
        targets = targets * (1 - label_smoothing) + label_smoothing / 2
        return F.binary_cross_entropy_with_logits(logits.float(), targets, pos_weight=weights)
    if weights is None:
        return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
    summed = F.cross_entropy(
        logits, targets, weights, label_smoothing=label_smoothing, reduction="sum"
    )
    return summed * (logits.shape[1] / logits.numel())


@dataclass(frozen=True)
class Teaching:
    """What the sub-networks of a step learn from; the defaults are MutualNet's.

    Args:
        labels: share of the cross-entropy on the labels in a sub-network's loss, 0 to 1; the rest
            is the divergence from the full network's answer.
        multi_label: every class is a question of its own: sigmoid and binary cross-entropy.
        class_weights: float (classes,) on the network's device, see :func:`label_loss`.

    Raises:
        InputError: for a value that is out of bounds.
    """

    labels: float = 0.0
    multi_label: bool = False
    class_weights: torch.Tensor | None = None

    def __post_init__(self):
        if not 0 <= self.labels <= 1:
            raise InputError(f"MUTUAL.LABEL_SHARE must be from 0 to 1, not {self.labels}")

    def answer(self, logits):
        """The full network's answer, detached probabilities, of its logits (B, classes)."""
        logits = logits.detach().float()
        return logits.sigmoid() if self.multi_label else logits.softmax(1)

    def told(self, logits, targets, label_smoothing=0.0):
        """:func:`label_loss` of the full network, as this says."""
        return label_loss(logits, targets, label_smoothing, self.multi_label, self.class_weights)

    def correct(self, logits, targets):
        """int64 scalar: clips whose highest score is of the label, or of one of the labels."""
        return (count_among if self.multi_label else count_correct)(logits, targets)

    def loss(self, logits, answer, targets, label_smoothing=0.0):
        """Of a sub-network: scalar float32, mean over the batch.

        Args:
            logits: (B, classes) of the sub-network.
            answer: of the full network, from :meth:`answer`.
            targets: labels, int64 (B,), or shares of the classes, float (B, classes).
            label_smoothing: of the part on the labels.
        """
        measure = binary_distillation_loss if self.multi_label else distillation_loss
        taught = measure(logits, answer)
        if not self.labels:
            return taught
        told = self.told(logits, targets, label_smoothing)
        return (1 - self.labels) * taught + self.labels * told
