"""Calibration and accuracy of many sub-networks, each clip decoded once for all of them."""

import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import nn

from mutualvideo.data.annotations import Video
from mutualvideo.data.augment import plain_input
from mutualvideo.data.dataset import VideoDataset
from mutualvideo.data.loader import ClipLoader
from mutualvideo.errors import CALIBRATE_BY_TOOLS, InputError
from mutualvideo.evaluation.scores import (
    Accuracy,
    Averages,
    Evaluation,
    Missing,
    Predictions,
    Tally,
    merge,
)
from mutualvideo.run.bars import tracked
from mutualvideo.run.distributed import Context, from_main, gather_to_main
from mutualvideo.run.resume import Work
from mutualvideo.slim import calibrate, each_subnet, require_calibrated
from mutualvideo.subnet import Subnet

logger = logging.getLogger(__name__)


def calibration_batches(loader: ClipLoader, cfg: CfgNode) -> Iterator[Any]:
    """The first TABLE.CALIBRATION_BATCHES of ``loader``, with a bar."""
    count = min(cfg.TABLE.CALIBRATION_BATCHES, len(loader))
    return tracked(islice(loader, count), "calibrate", count)


def calibrate_from(
    loader: ClipLoader,
    model: nn.Module,
    subnets: Sequence[Subnet],
    cfg: CfgNode,
    context: Context,
) -> None:
    """:func:`~mutualvideo.slim.calibrate` on the first TABLE.CALIBRATION_BATCHES of ``loader``.

    Several processes see parts of the batches that one would see, and get the same statistics.
    """
    batches = calibration_batches(loader, cfg)
    clips = (plain_input(batch, cfg, context.device) for batch in batches)
    calibrate(model, subnets, clips, over_processes=context.world_size > 1)


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    subnets: Sequence[Subnet],
    loader: ClipLoader,
    cfg: CfgNode,
    context: Context,
    work: Work | None = None,
) -> Evaluation:
    """Accuracy of every sub-network, each clip decoded once for all of them.

    Args:
        model: a slimmable network whose ``subnets`` are calibrated.
        subnets: which sub-networks.
        loader: a ``val`` or ``test`` loader. A video of which not all views come is never
            replaced: it is named in a warning and in ``missing``, and does not count.
        cfg: configuration, for the normalisation.
        context: this process; every process sees its share, all return the whole result.
        work: where what was found is kept from time to time, and gone on from
            (``mutualvideo.run.resume.Work``); ``None``: nowhere.

    Returns:
        :class:`~mutualvideo.evaluation.scores.Evaluation`.

    Raises:
        InputError: if a sub-network was never calibrated, or no video could be evaluated.
    """
    subnets = list(dict.fromkeys(subnets))
    for subnet in subnets:
        require_calibrated(model, subnet, "evaluation", CALIBRATE_BY_TOOLS)
    model.eval()
    tally, bad, done = Tally(loader.dataset.num_views, cfg.DATA.ENSEMBLE_METHOD), {}, 0
    several = cfg.DATA.MULTI_LABEL
    if work is not None and work.get("tally") is not None:
        tally.load_state(work.get("tally"), context.device)
        bad = dict(work.get("bad"))
        done = work.get("batches")
        loader.set_epoch(0, done)
    for batch in tracked(loader, "evaluate", len(loader), done):
        clips = plain_input(batch, cfg, context.device)
        answers = {}
        for subnet, x in each_subnet(model, clips, subnets):
            logits = model(x).float()
            answers[subnet] = logits.sigmoid() if several else logits.softmax(1)
        tally.add(batch, torch.stack([answers[subnet] for subnet in subnets]))
        if work is not None and work.due():
            work.save(tally=tally.state(), bad=bad | loader.bad, batches=loader.position)
    bad |= loader.bad
    if work is not None:
        work.save(tally=tally.state(), bad=bad, batches=len(loader))
    found = gather_to_main((tally.result(), tally.incomplete() | bad))
    shared = predictions = None
    if found is not None:
        results, parts = zip(*found, strict=True)
        predictions = merge(results, subnets)
        reasons = {row: text for part in parts for row, text in part.items()}
        shared = _judge(predictions, reasons, loader.dataset)
    accuracies, missing, averages = from_main(shared)
    expected = len(loader.dataset)
    evaluation = Evaluation(
        accuracies, expected - len(missing), expected, missing, predictions or {}, averages
    )
    if not evaluation.videos:
        raise InputError(
            f"{evaluation.account()}; correct the list, or DATA.PATH_PREFIX, where its files lie"
        )
    if missing and context.is_main:
        logger.warning("%s", evaluation.account())
    return evaluation


def _judge(
    predictions: dict[Subnet, Predictions], reasons: dict[int, str], dataset: VideoDataset
) -> tuple[dict[Subnet, Accuracy], tuple[Missing, ...], dict[Subnet, Averages]]:
    """What every process is told: ``{subnet: Accuracy}``, the :class:`Missing` videos, and
    ``{subnet: Averages}``."""
    evaluated = {int(row) for found in predictions.values() for row in found.rows}
    missing = tuple(
        Missing(video.name, _reason(video, reasons.get(row, "none of its views came")))
        for row, video in enumerate(dataset.videos)
        if row not in evaluated
    )
    accuracies = {
        subnet: found.accuracy(dataset.num_views) for subnet, found in predictions.items()
    }
    averages = {subnet: found.averages() for subnet, found in predictions.items()}
    return accuracies, missing, averages


def _reason(video: Video, text: str) -> str:
    """One line; without the path, which is another on every machine."""
    return " ".join(text.removeprefix(f"{video.path}: ").split())
