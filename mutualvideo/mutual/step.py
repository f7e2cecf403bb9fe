"""One mutual training step: forward and backward of every sub-network."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from mutualvideo.errors import InputError
from mutualvideo.mutual.teaching import Teaching
from mutualvideo.slim import set_subnet, slim_state, subnet_input


@dataclass(frozen=True)
class PassResult:
    """What one sub-network did in a step; tensors are detached, on the model's device.

    Attributes:
        subnet: the sub-network that ran.
        loss: float32 scalar: cross-entropy for the full network, else what ``Teaching`` makes of
            the answers; not weighted.
        correct: int64 scalar: clips whose label (the largest share of a mixed one) got the
            highest score.
    """

    subnet: object
    loss: torch.Tensor
    correct: torch.Tensor


@dataclass(frozen=True)
class Passes:
    """How the passes of a step are executed.

    Args:
        parallel: ``DistributedDataParallel`` around the network, if there is one. Only the last
            pass synchronises: one all-reduce a step.
        parts: the clips run in so many parts, one after the other, whose gradients add up: less
            memory, and the same gradients, but for BatchNorm, which sees each part alone.
        precision: dtype of ``torch.autocast``, or ``None``: float32. Losses are float32.
        scale: what is done to a loss before its backward pass, as ``GradScaler.scale``.
    """

    parallel: object = None
    parts: int = 1
    precision: torch.dtype | None = None
    scale: object = None


_PLAIN = Passes()
_AS_PUBLISHED = Teaching()


def mutual_step(
    model,
    clips,
    targets,
    subnets,
    label_smoothing=0.0,
    passes=_PLAIN,
    teaching=_AS_PUBLISHED,
    weights=None,
):
    """Accumulates the gradients of one step.

    The full network learns from the targets; every other sub-network, on an input of its own
    made on the device from the full clips, learns from the full network's soft output. Each
    backward pass runs at once, so peak memory is the full network's. A loss that is NaN or
    infinite makes gradients NaN, in all processes.

    Args:
        model: the slimmable network, in training mode, gradients zeroed.
        clips: full-size float (B, C, T, H, W) or (B, C, H, W).
        targets: labels, int64 (B,), or shares of the classes, float (B, classes).
        subnets: as :meth:`SubnetSampler.draw` gives them; the first is the full network.
        label_smoothing: of the full network's loss.
        passes: :class:`Passes`.
        teaching: :class:`~mutualvideo.mutual.teaching.Teaching`, how sub-networks learn.
        weights: factor on the loss of each sub-network; ``None``: 1 each.

    Returns:
        list of :class:`PassResult`, one for each sub-network, in order, of all clips.

    Raises:
        InputError: if there are fewer clips than parts.
    """
    parts = passes.parts
    if not 1 <= parts <= len(clips):
        raise InputError(
            f"TRAIN.MICRO_BATCHES {parts}: a process has {len(clips)} clips a step, expected 1 to "
            "as many"
        )
    found, weights = [], weights or [1.0] * len(subnets)
    pairs = zip(clips.tensor_split(parts), targets.tensor_split(parts), strict=True)
    for number, (some, wanted) in enumerate(pairs, 1):
        share, last = len(some) / len(clips), number == parts
        found.append(
            _part(
                model,
                some,
                wanted,
                subnets,
                label_smoothing,
                passes,
                teaching,
                weights,
                share,
                last,
            )
        )
    set_subnet(model, slim_state(model).full or subnets[0])
    return [
        PassResult(of_one[0].subnet, sum(r.loss for r in of_one), sum(r.correct for r in of_one))
        for of_one in zip(*found, strict=True)
    ]


def _part(model, clips, targets, subnets, label_smoothing, passes, teaching, weights, share, last):
    """All sub-networks on a part of the clips; losses count as its ``share`` of the step's."""
    forward = model if passes.parallel is None else passes.parallel
    device, precision = clips.device.type, passes.precision
    labels = targets if targets.dim() == 1 else targets.argmax(1)
    results, answer = [], None
    for position, (subnet, weight) in enumerate(zip(subnets, weights, strict=True)):
        reduces = last and position == len(subnets) - 1
        set_subnet(model, subnet)
        silent = passes.parallel is not None and not reduces
        with passes.parallel.no_sync() if silent else nullcontext():
            with torch.autocast(device, precision, enabled=precision is not None):
                logits = forward(subnet_input(model, clips, subnet)).float()
            if position == 0:
                loss = F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
                if len(subnets) > 1:
                    taught_by = logits if teaching.teacher is None else teaching.teacher(clips)
                    answer = teaching.answer(taught_by)
            else:
                loss = teaching.loss(logits, answer, targets, label_smoothing)
            loss = loss * share
            found = loss.detach()
            scaled = loss * weight if passes.scale is None else passes.scale(loss * weight)
            # 1, or NaN: gradients of an infinite loss may be finite, and nobody else would know.
            scaled.backward(1 + (found - found))
        correct = (logits.detach().argmax(1) == labels).sum()
        results.append(PassResult(subnet, found, correct))
    return results


def not_finite(results):
    """Those of ``results`` whose loss is NaN or infinite. One transfer from the device."""
    finite = torch.stack([result.loss for result in results]).isfinite().tolist()
    return [result for result, good in zip(results, finite, strict=True) if not good]
