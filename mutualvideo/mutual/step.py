"""One mutual training step: forward and backward of every sub-network."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch.utils._pytree import tree_map

from mutualvideo.errors import InputError
from mutualvideo.mutual.any_output import (
    as_float,
    count_correct,
    imitation_loss,
    teacher_of,
)
from mutualvideo.mutual.teaching import Teaching
from mutualvideo.slim import set_subnet, slim_state, subnet_input, training_shape
from mutualvideo.slim.resampling import batch_length, run_on
from mutualvideo.subnet import Subnet


@dataclass(frozen=True)
class PassResult:
    """What one sub-network did in a step; tensors are detached, on the model's device.

    Attributes:
        subnet: the sub-network that ran.
        loss: float32 scalar: cross-entropy for the full network, else what ``Teaching`` makes of
            the answers, or what the caller's own losses gave; not weighted.
        correct: int64 scalar: clips (of dense labels: positions) whose label (the largest share
            of a mixed one; of several labels one of them) got the highest score; 0 where the
            answer is no scores of classes.
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
    *,
    loss=None,
    distill=None,
    teaching=_AS_PUBLISHED,
    weights=None,
):
    """Accumulates the gradients of one step.

    The full network learns from the targets; every other sub-network, on an input of its own
    made on the device from the full clips, learns from the full network's soft output. Each
    backward pass runs at once, so peak memory is the full network's. A loss that is NaN or
    infinite makes gradients NaN, in all processes. The full network's pass alone moves running
    statistics.

    Args:
        model: the slimmable network, in training mode, gradients zeroed.
        clips: full-size float (B, C, T, H, W) or (B, C, H, W), or a nest of tensors as
            :func:`~mutualvideo.slim.subnet_input` takes it.
        targets: labels, int64 (B,), or shares of the classes, float (B, classes), or dense
            labels, int64 (B, ...); with a loss of the caller's, any nest of tensors.
        subnets: as :meth:`SubnetSampler.draw` gives them, or as text; the first is the full
            network, at the widest width.
        label_smoothing: of the full network's cross-entropy.
        passes: :class:`Passes`.
        loss: the full network's, a function of (output, targets) that gives a scalar, a mean
            over the batch; by default the cross-entropy.
        distill: the sub-networks', a function of (output, the full network's detached output);
            by default what ``teaching`` says or, with a ``loss`` of the caller's, the mean squared
            error.
        teaching: :class:`~mutualvideo.mutual.teaching.Teaching`, how sub-networks learn without
            losses of the caller's.
        weights: factor on the loss of each sub-network; ``None``: 1 each.

    Returns:
        list of :class:`PassResult`, one for each sub-network, in order, of all clips.

    Raises:
        InputError: if there are fewer clips than parts, the first sub-network is not at the widest
            width, or a sub-network cannot imitate an output of another shape.
    """
    state, subnets = slim_state(model), list(map(Subnet.of, subnets))
    if not subnets or round(state.width_range[1], 4) != subnets[0].width:
        raise InputError(
            f"mutual_step(): the first sub-network teaches the others and learns from the labels: "
            f"it must be at the widest width, {state.width_range[1]:g}, not "
            f"{subnets[0] if subnets else 'missing'}"
        )
    parts, count = passes.parts, batch_length(clips)
    losses = _losses(loss, distill, label_smoothing, teaching)
    if not 1 <= parts <= count:
        raise InputError(
            f"TRAIN.MICRO_BATCHES {parts}: a process has {count} clips a step, expected 1 to "
            "as many"
        )
    weights = weights or [1.0] * len(subnets)
    found = []
    pairs = zip(_split(clips, parts), _split(targets, parts), strict=True)
    with training_shape(model, subnets[0], state.norm_parts):
        for number, (some, wanted) in enumerate(pairs, 1):
            share, last = batch_length(some) / count, number == parts
            found.append(_part(model, some, wanted, subnets, losses, passes, weights, share, last))
    set_subnet(model, state.full or subnets[0])
    return [
        PassResult(of_one[0].subnet, sum(r.loss for r in of_one), sum(r.correct for r in of_one))
        for of_one in zip(*found, strict=True)
    ]


def _split(nest, parts):
    """``nest`` in ``parts``, along the first dimension of its tensors."""

    def part(number):
        def take(value):
            batched = isinstance(value, torch.Tensor) and value.dim()
            return value.tensor_split(parts)[number] if batched else value

        return take

    return [nest] if parts == 1 else [tree_map(part(number), nest) for number in range(parts)]


@dataclass(frozen=True)
class _Losses:
    """Functions: of the full network's output and targets; from the full network's output to what
    it teaches; of a sub-network's output, what it is taught, and targets; of an output and targets,
    how many answers are right."""

    own: object
    teach: object
    taught: object
    correct: object = count_correct


def _losses(loss, distill, label_smoothing, teaching):
    def own(logits, targets):
        return teaching.told(logits, targets, label_smoothing)

    if loss is not None or distill is not None:
        measure = distill or imitation_loss
        return _Losses(
            loss or own,
            teacher_of,
            lambda output, answer, _: measure(output, answer),
        )

    def taught(logits, answer, targets):
        return teaching.loss(logits, answer, targets, label_smoothing)

    return _Losses(own, teaching.answer, taught, teaching.correct)


def _part(model, clips, targets, subnets, losses, passes, weights, share, last):
    """All sub-networks on a part of the clips; losses count as its ``share`` of the step's."""
    forward = model if passes.parallel is None else passes.parallel
    device, precision = next(model.parameters()).device.type, passes.precision
    results, answer = [], None
    for position, (subnet, weight) in enumerate(zip(subnets, weights, strict=True)):
        reduces = last and position == len(subnets) - 1
        set_subnet(model, subnet)
        silent = passes.parallel is not None and not reduces
        with passes.parallel.no_sync() if silent else nullcontext():
            with torch.autocast(device, precision, enabled=precision is not None):
                output = as_float(run_on(forward, subnet_input(model, clips, subnet)))
            if position == 0:
                loss = losses.own(output, targets)
                answer = losses.teach(output) if len(subnets) > 1 else None
            else:
                loss = losses.taught(output, answer, targets)
            loss = loss * share
            found = loss.detach()
            scaled = loss * weight if passes.scale is None else passes.scale(loss * weight)
            # 1, or NaN: gradients of an infinite loss may be finite, and nobody else would know.
            scaled.backward(1 + (found - found))
        results.append(PassResult(subnet, found, losses.correct(output, targets)))
    return results


def not_finite(results):
    """Those of ``results`` whose loss is NaN or infinite. One transfer from the device."""
    finite = torch.stack([result.loss for result in results]).isfinite().tolist()
    return [result for result, good in zip(results, finite, strict=True) if not good]
