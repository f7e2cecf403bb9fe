"""One mutual training step: forward and backward of every sub-network."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from mutualvideo.errors import InputError
from mutualvideo.slim import set_subnet, slim_state, subnet_input


class DivergedError(InputError):
    """A loss became NaN or infinite."""


@dataclass(frozen=True)
class PassResult:
    """What one sub-network did in a step; tensors are detached, on the model's device.

    Attributes:
        subnet: the sub-network that ran.
        loss: float32 scalar: cross-entropy for the full network, KL divergence else.
        correct: int64 scalar: clips whose label (the largest share of a mixed one) got the
            highest score.
    """

    subnet: object
    loss: torch.Tensor
    correct: torch.Tensor


def distillation_loss(logits, teacher):
    """KL divergence of a sub-network's answer from the full network's.

    Args:
        logits: (B, classes), the sub-network's, any floating dtype.
        teacher: (B, classes) float32 probabilities, detached.

    Returns:
        Scalar float32, mean over the batch.
    """
    return F.kl_div(F.log_softmax(logits.float(), 1), teacher, reduction="batchmean")


def mutual_step(model, clips, targets, subnets, label_smoothing=0.0, parallel=None):
    """Accumulates the gradients of one step.

    The full network learns from the targets; every other sub-network, on an input of its own
    made on the device from the full clips, learns from the full network's soft output. Each
    backward pass runs at once, so peak memory is the full network's.

    Args:
        model: the slimmable network, in training mode, gradients zeroed.
        clips: full-size float (B, C, T, H, W) or (B, C, H, W).
        targets: labels, int64 (B,), or shares of the classes, float (B, classes).
        subnets: as :meth:`SubnetSampler.draw` gives them; the first is the full network.
        label_smoothing: of the full network's loss.
        parallel: ``DistributedDataParallel`` around ``model``, if there is one. Only the
            last pass synchronises: one all-reduce a step.

    Returns:
        list of :class:`PassResult`, one for each sub-network, in order.
    """
    forward = model if parallel is None else parallel
    labels = targets if targets.dim() == 1 else targets.argmax(1)
    results, teacher = [], None
    for position, subnet in enumerate(subnets):
        last = position == len(subnets) - 1
        set_subnet(model, subnet)
        silent = nullcontext() if parallel is None or last else parallel.no_sync()
        with silent:
            logits = forward(subnet_input(model, clips, subnet))
            if teacher is None:
                loss = F.cross_entropy(logits.float(), targets, label_smoothing=label_smoothing)
                teacher = logits.detach().float().softmax(1)
            else:
                loss = distillation_loss(logits, teacher)
            loss.backward()
        correct = (logits.detach().argmax(1) == labels).sum()
        results.append(PassResult(subnet, loss.detach(), correct))
    set_subnet(model, slim_state(model).full or subnets[0])
    return results


def check_finite(results, step):
    """Raises DivergedError, naming the sub-network and the step, if a loss is not finite.

    One transfer from the device for all losses.
    """
    losses = torch.stack([result.loss for result in results]).tolist()
    for result, loss in zip(results, losses, strict=True):
        if loss != loss or loss in (float("inf"), float("-inf")):
            raise DivergedError(
                f"step {step}: the loss of sub-network {result.subnet} is {loss}; lower "
                "SOLVER.BASE_LR, lengthen SOLVER.WARMUP_EPOCHS or set SOLVER.CLIP_GRAD_L2NORM"
            )
    return losses
