"""One step of mutual learning of a detector."""

from contextlib import nullcontext

import torch
from torch.utils._pytree import tree_map

from mutualvideo.detection.imitation import imitate, look, watch
from mutualvideo.errors import InputError
from mutualvideo.mutual.step import Passes, PassResult
from mutualvideo.slim import set_subnet, slim_state
from mutualvideo.subnet import Subnet

_PLAIN = Passes()


def detection_step(
    model, pictures, targets, subnets, imitation=1.0, passes=_PLAIN, *, weights=None
):
    """Accumulates the gradients of one step; each backward pass runs at once.

    Every sub-network learns from the labels, with the detector's own losses and at a picture size
    of its own. Those below the full network also imitate
    the full width's class scores and box deltas at the same anchors and, in an R-CNN, at the same
    proposals: knowledge distillation for detectors (Chen et al., NeurIPS 2017), without its
    teacher-bounded regression and with anchors weighted as
    :func:`~mutualvideo.detection.imitation.imitation_of` says. That way is taken of the published
    ones since it needs no further parameters, holds for one and two stages, and teaches what the
    detector answers, as in-place distillation does in classification. Masks are learned from the
    labels alone.

    Anchors are the same only in pictures of the same size, so the teacher of a sub-network at
    another size is the full width at that size: a further pass without gradients. It moves no
    statistics.

    Args:
        model: a slimmable detector in training mode, gradients zeroed.
        pictures: list of float (3, H, W) from 0 to 1, on its device.
        targets: list of dicts as torchvision's detectors take them: ``boxes``, ``labels`` and, for
            Mask R-CNN, ``masks``.
        subnets: as :meth:`~mutualvideo.mutual.sampler.SubnetSampler.draw` gives them; the first is
            the full network.
        imitation: weight of the distillation; 0 is the labels alone.
        passes: :class:`~mutualvideo.mutual.step.Passes`, of one part.
        weights: factor on the loss of each sub-network; ``None``: 1 each.

    Returns:
        list of :class:`~mutualvideo.mutual.step.PassResult`; ``correct`` is 0, ``loss`` not
        weighted.

    Raises:
        InputError: for a detector that is not in training mode, or that draws sizes of its own
            (several ``min_size``): sub-networks have theirs.
    """
    if not model.training:
        raise InputError("detection_step(): the detector answers; call model.train() first")
    full = slim_state(model).full
    set_subnet(model, full)
    if len(model.transform.min_size) > 1:
        raise InputError(
            f"detection_step(): the detector draws one of the sizes {model.transform.min_size}; "
            "sub-networks have sizes, so give it one min_size"
        )
    forward = model if passes.parallel is None else passes.parallel
    device, precision = next(model.parameters()).device.type, passes.precision
    results, told = [], {}
    for position, subnet in enumerate(subnets):
        set_subnet(model, subnet)
        silent = passes.parallel is not None and position < len(subnets) - 1
        with passes.parallel.no_sync() if silent else nullcontext():
            with torch.autocast(device, precision, enabled=precision is not None):
                with watch(model) as seen:
                    losses = forward(pictures, targets)
                loss = sum(one.float() for one in losses.values())
                teacher = Subnet(full.width, None, subnet.size)
                if subnet == full:
                    if imitation:
                        told[full.size] = _without_gradients((seen.maps, seen.dense))
                elif imitation and subnet != teacher:
                    if subnet.size not in told:
                        told[subnet.size] = look(model, teacher, seen.pictures)
                        set_subnet(model, subnet)
                    loss = loss + imitation * imitate(model, seen, told[subnet.size])
            found = loss.detach()
            loss = loss if weights is None else weights[position] * loss
            loss = loss if passes.scale is None else passes.scale(loss)
            # 1, or NaN: gradients of an infinite loss may be finite, and nobody else would know.
            loss.backward(1 + (found - found))
        none_counted = torch.zeros((), dtype=torch.int64, device=found.device)
        results.append(PassResult(subnet, found, none_counted))
    set_subnet(model, full)
    return results


def _without_gradients(nest):
    """The same maps, tensors and lists of them, apart from the graph."""
    return tree_map(lambda tensor: tensor.detach(), nest)
