"""Calibration and accuracy of many sub-networks, each clip decoded once for all of them."""

from dataclasses import dataclass
from itertools import islice

import torch
from tqdm import tqdm

from mutualvideo.data.augment import plain_input
from mutualvideo.engine.distributed import sum_over_processes
from mutualvideo.errors import InputError
from mutualvideo.slim import batch_norms, calibrate, require_calibrated, set_subnet, subnet_input


@dataclass(frozen=True)
class Accuracy:
    """How often one sub-network is right.

    Attributes:
        top1, top5: percent of videos whose label has the highest score, or is among the
            five highest.
        videos: how many were evaluated.
    """

    top1: float
    top5: float
    videos: int


def calibrate_from(loader, model, subnets, cfg, context):
    """:func:`~mutualvideo.slim.calibrate` on the first TABLE.CALIBRATION_BATCHES of ``loader``.

    Under several processes the statistics are averaged over them; each saw as many clips.
    """
    batches = min(cfg.TABLE.CALIBRATION_BATCHES, len(loader))
    bar = tqdm(islice(loader, batches), "calibrate", batches, disable=None, leave=False)
    calibrate(model, subnets, (plain_input(batch, cfg, context.device) for batch in bar))
    if context.world_size > 1:
        for _, norm in batch_norms(model):
            for subnet in subnets:
                for tensor in norm.statistics[subnet]:
                    sum_over_processes(tensor).div_(context.world_size)


@torch.inference_mode()
def evaluate(model, subnets, loader, cfg, context):
    """Video accuracy of every sub-network: softmax averaged over the views of each video.

    Args:
        model: a slimmable network whose ``subnets`` are calibrated.
        subnets: which sub-networks.
        loader: a ``val`` or ``test`` loader; every clip is decoded once.
        cfg: configuration, for the normalisation.
        context: this process; every process sees its share, all return the whole result.

    Returns:
        ``{subnet: Accuracy}``.

    Raises:
        InputError: if a sub-network was never calibrated, or a video did not have all of
            its views evaluated.
    """
    for subnet in subnets:
        require_calibrated(model, subnet, "evaluation")
    model.eval()
    total, classes = len(loader.dataset), cfg.MODEL.NUM_CLASSES
    scores = torch.zeros(len(subnets), total, classes, device=context.device)
    labels, views = (torch.zeros(total, dtype=torch.int64, device=context.device) for _ in "lv")
    for batch in tqdm(loader, "evaluate", disable=None, leave=False):
        clips = plain_input(batch, cfg, context.device)
        video = batch["video"].to(context.device)
        labels[video] = batch["label"].to(context.device)
        views.index_add_(0, video, torch.ones_like(video))
        for number, subnet in enumerate(subnets):
            set_subnet(model, subnet)
            answer = model(subnet_input(model, clips, subnet)).float().softmax(1)
            scores[number].index_add_(0, video, answer)
    for tensor in (scores, labels, views):
        sum_over_processes(tensor)
    complete = int((views == loader.dataset.num_views).sum())
    if complete != total:
        raise InputError(f"evaluation: {complete} of {total} videos have all their views")
    return {subnet: _accuracy(scores[i], labels) for i, subnet in enumerate(subnets)}


def _accuracy(scores, labels):
    best = scores.topk(min(5, scores.shape[1]), dim=1).indices
    hits = (best == labels[:, None]).float()
    top1, top5 = (100 * hits[:, :k].sum(1).mean().item() for k in (1, best.shape[1]))
    return Accuracy(top1, top5, len(labels))
