"""The query table of a detector: what its sub-networks cost and how good they are."""

from mutualvideo.detection.coco_scores import evaluate_detector
from mutualvideo.detection.detector_costs import detector_costs, most_boxes
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable
from mutualvideo.table.row import Row


def detector_table(model, subnets, data, picture, batch_size=1):
    """Scores and counts sub-networks of a calibrated detector.

    Args:
        model: a slimmable detector; it is left as it was.
        subnets: which sub-networks, each calibrated or the full network.
        data: :class:`~mutualvideo.detection.coco_pictures.CocoPictures` for evaluation.
        picture: (height, width) in pixels of the picture that costs are counted for, before it is
            brought to a sub-network's size. The table's metadata says it, and how many proposals
            an R-CNN looks at.
        batch_size: pictures that run together.

    Returns:
        :class:`~mutualvideo.QueryTable` with ``box_ap`` and ``box_ap50`` in percent, of Mask R-CNN
        also ``mask_ap`` and ``mask_ap50``.

    Raises:
        InputError: as :func:`~mutualvideo.detection.coco_scores.evaluate_detector`.
    """
    subnets = [Subnet.of(subnet) for subnet in subnets]
    scores = evaluate_detector(model, data, subnets, batch_size)
    return scored_table(model, scores, data, picture)


def scored_table(model, scores, data, picture, times=None):
    """The table of what :func:`~mutualvideo.detection.evaluate_detector` found.

    Args:
        model, data, picture: as :func:`detector_table` takes them.
        scores: ``{subnet: {kind: CocoScores}}``.
        times: ``{subnet: {column: milliseconds}}``; ``None``: nothing was measured.
    """
    costs = detector_costs(model, list(scores), picture)
    rows = []
    for subnet, of_subnet in scores.items():
        found = {f"{kind}_ap": of_kind.ap for kind, of_kind in of_subnet.items()}
        found |= {f"{kind}_ap50": of_kind.ap50 for kind, of_kind in of_subnet.items()}
        found |= (times or {}).get(subnet, {})
        rows.append(Row(subnet, costs[subnet].macs, costs[subnet].params, **found))
    return QueryTable(
        rows,
        {
            "model": type(model).__name__,
            "dataset": data.file.path,
            "videos": len(data),
            "expected": len(data),
            "macs": macs_convention(model, picture),
            "classes": [data.classes.get(label, "") for label in range(data.num_classes)],
        },
    )


def macs_convention(model, picture):
    """What is counted, in words: for the metadata of a table.

    Args:
        model: a slimmable detector.
        picture: (height, width) in pixels.
    """
    height, width = picture
    macs = "multiply-adds of convolutions and linear layers, one picture of "
    macs += f"{height} x {width} pixels, brought to the sub-network's size"
    proposals, detections = most_boxes(model)
    if proposals:
        macs += f", with {proposals} proposals and {detections} detections"
    return macs
