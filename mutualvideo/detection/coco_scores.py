"""COCO's average precision of boxes and masks, by pycocotools."""

import contextlib
import io
from dataclasses import dataclass

import numpy as np
import torch
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from mutualvideo.detection.coco_tools import coco_tools
from mutualvideo.errors import InputError, shown
from mutualvideo.slim import require_calibrated, set_subnet
from mutualvideo.slim.statistics.calibrate import as_before

# Where pycocotools puts them among its twelve figures.
_PLACES = {"ap": 0, "ap50": 1, "ap75": 2, "small": 3, "medium": 4, "large": 5}
# A pixel belongs to a mask from this probability on, as in torchvision's references.
MASK_THRESHOLD = 0.5


@dataclass(frozen=True)
class CocoScores:
    """Average precision in percent, 0 to 100; ``None`` where the file has no such object.

    Attributes:
        ap: mean over the IoU thresholds 0.50, 0.55, ... 0.95 and over classes.
        ap50, ap75: at the IoU 0.5 and 0.75 alone.
        small, medium, large: ``ap`` of objects of an area below 32 x 32, up to 96 x 96, and above,
            in pixels of the picture as it is on the disk.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    small: float | None
    medium: float | None
    large: float | None


def score_detections(file, found, kind="box", pictures=None):
    """Compares what was found with the annotations, as COCO's challenge does.

    Crowds count as there: what lies in one is neither right nor wrong. At most 100 detections a
    picture count, those of the highest scores.

    Args:
        file: :class:`~mutualvideo.detection.coco_file.CocoFile`.
        found: COCO's results, ``{"image_id", "category_id", "score"}`` and ``"bbox"`` ([x, y,
            width, height]) or ``"segmentation"`` (run lengths) each; a list, which may be empty.
        kind: ``"box"`` or ``"mask"``.
        pictures: ids of the pictures that count; by default all of the file.

    Returns:
        :class:`CocoScores`.

    Raises:
        InputError: for another kind, a result of a picture that is not in the file, masks where
            the file has none, or if pycocotools is not installed.
    """
    keys = {"box": "bbox", "mask": "segmentation"}
    if kind not in keys:
        raise InputError(f"score_detections(): kind {shown(kind)}: expected box or mask")
    coco, cocoeval, _ = coco_tools()
    odd = next((one["image_id"] for one in found if one["image_id"] not in file.pictures), None)
    if odd is not None:
        raise InputError(f"{file.path}: has no image {shown(odd)}, of which there is a detection")
    objects = [one for some in file.objects.values() for one in some]
    bare = next((one["id"] for one in objects if not one.get("segmentation")), None)
    if kind == "mask" and bare is not None:
        raise InputError(f"{file.path}: annotation {bare} has no segmentation to score masks by")
    wanted = ("image_id", "category_id", "score", keys[kind])
    with contextlib.redirect_stdout(io.StringIO()):  # it says what it does
        truth = _index(coco.COCO(), file, objects)
        if found:
            results = truth.loadRes([{name: one[name] for name in wanted} for one in found])
        else:  # which loadRes() does not take
            results = _index(coco.COCO(), file, [])
        evaluation = cocoeval.COCOeval(truth, results, {"box": "bbox", "mask": "segm"}[kind])
        if pictures is not None:
            evaluation.params.imgIds = sorted(pictures)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = {name: float(evaluation.stats[place]) for name, place in _PLACES.items()}
    return CocoScores(**{n: None if value < 0 else 100 * value for n, value in figures.items()})


def _index(coco, file, annotations):
    coco.dataset = {
        "info": {},
        "images": list(file.pictures.values()),
        "categories": [{"id": key, "name": name} for key, name in file.categories.items()],
        "annotations": [
            # Copies, since pycocotools writes into them, with ids from 1: it notes which object was
            # found by its id, and takes 0 for none.
            {"iscrowd": 0, "area": one["bbox"][2] * one["bbox"][3], **one, "id": number}
            for number, one in enumerate(annotations, 1)
        ],
    }
    coco.createIndex()
    return coco


def as_results(data, keys, answers):
    """What a detector answered as COCO's results, see :func:`score_detections`.

    Args:
        data: :class:`~mutualvideo.detection.coco_pictures.CocoPictures`.
        keys: ids of the pictures.
        answers: a dict of ``boxes`` (x1 y1 x2 y2), ``scores``, ``labels`` and perhaps ``masks``
            (float (N, 1, H, W)) for each.

    Returns:
        list of dicts; detections of a class that the file does not have are left out.
    """
    results = []
    for key, answer in zip(keys, answers, strict=True):
        corners = answer["boxes"].double().cpu().numpy()
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
        scores, labels = answer["scores"].tolist(), answer["labels"].tolist()
        masks = _run_lengths(answer["masks"]) if "masks" in answer else [None] * len(boxes)
        for box, score, label, mask in zip(boxes, scores, labels, masks, strict=True):
            category = data.category_of(label)
            if category is not None:
                one = {"image_id": key, "category_id": category, "bbox": box, "score": score}
                results.append(one if mask is None else {**one, "segmentation": mask})
    return results


def _run_lengths(masks):
    pixels = (masks[:, 0] >= MASK_THRESHOLD).to(torch.uint8).cpu().numpy()
    return [coco_tools()[2].encode(np.asfortranarray(mask)) for mask in pixels]


def evaluate_detector(model, data, subnets, batch_size=1, progress=iter):
    """COCO's average precision of every sub-network on a data set; pictures are read once.

    Args:
        model: a slimmable detector; it is left as it was.
        data: :class:`~mutualvideo.detection.coco_pictures.CocoPictures` for evaluation.
        subnets: which sub-networks.
        batch_size: pictures that run together; those of the largest size decide the padding.
        progress: function of a sequence that goes through it, and may show how far it is.

    Returns:
        ``{subnet: {"box": CocoScores, "mask": CocoScores}}``; ``"mask"`` of Mask R-CNN alone.

    Raises:
        InputError: for a sub-network without statistics of its own, or a bad picture.
    """
    found = find_objects(model, data, subnets, batch_size, progress=progress)
    return score_all(model, data, found)


@torch.inference_mode()
def find_objects(model, data, subnets, batch_size=1, shard=(0, 1), progress=iter):
    """What every sub-network finds; of several processes each looks at whole batches of its own.

    Args:
        model, data, subnets, batch_size, progress: as :func:`evaluate_detector` takes them.
        shard: which process this is, of how many.

    Returns:
        ``{subnet: results}``, see :func:`as_results`.

    Raises:
        InputError: as :func:`evaluate_detector`.
    """
    for subnet in subnets:
        require_calibrated(model, subnet, "evaluate_detector()", "calibrate_detector() it first")
    found = {subnet: [] for subnet in subnets}
    device, (rank, world_size) = next(model.parameters()).device, shard
    with as_before(model):
        model.eval()
        for start in progress(range(0, len(data), batch_size)[rank::world_size]):
            items = [data[n] for n in range(start, min(start + batch_size, len(data)))]
            keys = [target["image_id"] for _, target in items]
            pictures = [picture.to(device) for picture, _ in items]
            for subnet in subnets:
                set_subnet(model, subnet)
                found[subnet] += as_results(data, keys, model(pictures))
    return found


def score_all(model, data, found):
    """What :func:`evaluate_detector` returns, of what :func:`find_objects` of ``model`` found."""
    has_masks = isinstance(model, GeneralizedRCNN) and model.roi_heads.has_mask()
    kinds = ("box", "mask") if has_masks else ("box",)
    return {
        subnet: {kind: score_detections(data.file, some, kind, data.ids) for kind in kinds}
        for subnet, some in found.items()
    }
