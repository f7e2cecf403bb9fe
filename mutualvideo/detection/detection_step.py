"""One step of mutual learning of a detector."""

import torch
from torch.utils._pytree import tree_map

from mutualvideo.detection.imitation import imitate, look, watch
from mutualvideo.errors import InputError
from mutualvideo.mutual.step import PassResult
from mutualvideo.slim import set_subnet, slim_state
from mutualvideo.subnet import Subnet


def detection_step(model, pictures, targets, subnets, imitation=1.0):
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

    Returns:
        list of :class:`~mutualvideo.mutual.step.PassResult`; ``correct`` is 0.

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
    results, told = [], {}
    for subnet in subnets:
        set_subnet(model, subnet)
        with watch(model) as seen:
            losses = model(pictures, targets)
        loss = sum(losses.values())
        teacher = Subnet(full.width, None, subnet.size)
        if subnet == full:
            if imitation:
                told[full.size] = _without_gradients((seen.maps, seen.dense))
        elif imitation and subnet != teacher:
            if subnet.size not in told:
                told[subnet.size] = look(model, teacher, seen.pictures)
            loss = loss + imitation * imitate(model, seen, told[subnet.size])
        loss.backward()
        none_counted = torch.zeros((), dtype=torch.int64, device=loss.device)
        results.append(PassResult(subnet, loss.detach(), none_counted))
    set_subnet(model, full)
    return results


def _without_gradients(nest):
    """The same maps, tensors and lists of them, apart from the graph."""
    return tree_map(lambda tensor: tensor.detach(), nest)
