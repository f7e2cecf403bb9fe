"""The rows in continual form: sliding over whole videos, every frame computed once."""

from __future__ import annotations

import copy
import logging
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from tqdm import tqdm

from mutualvideo.continual import ContinualNetwork
from mutualvideo.continual.stream_statistics import calibrate_streams, of_stream
from mutualvideo.data.annotations import Video
from mutualvideo.data.sampling import seconds_apart
from mutualvideo.errors import CALIBRATE_BY_TOOLS, InputError
from mutualvideo.evaluation.streams import calibration_streams, frames_of
from mutualvideo.media import DecodeError
from mutualvideo.slim import require_calibrated
from mutualvideo.subnet import Subnet
from mutualvideo.table.continual_table import ContinualRow, ContinualTable

logger = logging.getLogger(__name__)

_TIMED = 9


def check_continual(cfg: CfgNode, segments: bool = False) -> None:
    """Refuses continual rows of what has none.

    Args:
        cfg: configuration.
        segments: clips are one frame out of each segment of a whole video, not a window that
            slides over it.

    Raises:
        InputError: for TABLE.CONTINUAL with ``segments``, or with DATA.MULTI_LABEL, since the
            accuracy of these rows is a top-1.
    """
    if cfg.TABLE.CONTINUAL and segments:
        raise InputError(
            f"TABLE.CONTINUAL: clips of {cfg.TEST.DATASET} are spread over the whole video, "
            "however long it is, and a stream has no end: set TABLE.CONTINUAL False"
        )
    if cfg.TABLE.CONTINUAL and cfg.DATA.MULTI_LABEL:
        raise InputError(
            "TABLE.CONTINUAL: rows in continual form are judged by the one label of a video, and "
            "with DATA.MULTI_LABEL True videos have several: set TABLE.CONTINUAL False"
        )


@torch.inference_mode()
def continual_rows(
    model: nn.Module, subnets: Sequence[Subnet], videos: Sequence[Video], cfg: CfgNode
) -> ContinualTable:
    """Costs, delays and accuracies of sub-networks in continual form.

    Every video is a stream: its frames are as far apart as a clip's, from its first to its last,
    the centre crop of each. The softmax is averaged over all positions of the window, as over
    sliding clips; a video shorter than the window has one.

    Args:
        model: a slimmable network whose ``subnets`` have statistics; see :func:`for_streams`.
        subnets: which.
        videos: of the list; one that does not decode is named in a warning and not counted.
        cfg: configuration.

    Returns:
        :class:`~mutualvideo.table.continual_table.ContinualTable`; its metadata has ``videos``
        and ``expected``, how many were evaluated and how many the list holds.

    Raises:
        InputError: if the network has no continual form, a sub-network was never calibrated, or
            no video decodes.
    """
    model.eval()
    for subnet in subnets:
        require_calibrated(model, subnet, "continual rows", CALIBRATE_BY_TOOLS)
    forms = {subnet: ContinualNetwork(model, subnet=subnet) for subnet in subnets}
    right, count = dict.fromkeys(subnets, 0), 0
    for video in tqdm(videos, "continual", disable=None, leave=False):
        try:
            frames = torch.cat(list(frames_of(video, cfg)))
        except DecodeError as error:
            logger.warning("not counted: %s", error)
            continue
        count += 1
        pixels = frames.to(next(model.parameters()).device)
        for subnet, form in forms.items():
            right[subnet] += int(_slide(form, pixels, cfg).argmax()) == video.label
    if not count:
        raise InputError("continual rows: no video of the list decodes")
    rows = [_row(form, subnet, 100 * right[subnet] / count, cfg) for subnet, form in forms.items()]
    return ContinualTable(rows, {"videos": count, "expected": len(videos)})


def for_streams(
    model: nn.Module, chosen: Mapping[Subnet, str], videos: Sequence[Video], cfg: CfgNode
) -> nn.Module:
    """A copy of a network for clips whose sub-networks have the statistics of streams.

    Args:
        model: a slimmable network whose sub-networks have statistics for clips.
        chosen: ``{sub-network: which}``; those with ``calibrated`` ones are calibrated on streams,
            the others keep what they have.
        videos: of the training list.
        cfg: configuration.

    Raises:
        InputError: if the network has no continual form, or no video decodes.
    """
    network = copy.deepcopy(model).eval()
    ContinualNetwork(network)  # refused here
    subnets = [subnet for subnet, which in chosen.items() if which == "calibrated"]
    if subnets:
        device = next(network.parameters()).device
        batches = (batch.to(device) for batch in calibration_streams(videos, cfg))
        bar = tqdm(batches, "calibrate on streams", disable=None, leave=False)
        calibrate_streams(network, subnets, bar, cfg.DATA.NUM_FRAMES)
    return network


def _row(form: ContinualNetwork, subnet: Subnet, top1: float, cfg: CfgNode) -> ContinualRow:
    full, rate = cfg.DATA.NUM_FRAMES, 1 / seconds_apart(cfg.DATA)
    window = form.window
    share = 1.0 if window in (1, full) else (window - 1) / (full - 1)
    measured: dict[str, Any] = {}
    if cfg.TABLE.LATENCY:
        measured = {"latency_ms": _milliseconds(form), "threads": torch.get_num_threads()}
    size = form.nbytes()
    return ContinualRow(subnet, form.macs(), rate * share, form.delay, size, top1, **measured)


def _milliseconds(form: ContinualNetwork) -> float:
    """Median time of a step, the stream under way."""
    state, times = form.start(), []
    state["count"] += form.memory
    frame = next(form.network.parameters()).new_zeros(1, 3, form.size, form.size)
    for _ in range(_TIMED):
        begin_s = time.perf_counter()
        logits, state = form.step(frame, state)
        logits.cpu()  # waits for the device
        times.append(1000 * (time.perf_counter() - begin_s))
    return statistics.median(times[2:])


def _slide(form: ContinualNetwork, frames: Tensor, cfg: CfgNode) -> Tensor:
    """Mean softmax (classes,) over all positions of the window on ``frames`` (T, 3, S, S)."""
    window = form.window
    clip = of_stream(frames.transpose(0, 1)[None], window, form.size, cfg.DATA.NUM_FRAMES)
    length = clip.shape[2]
    first = form.delay + min(window, length) - 1
    state, scores = form.start(), []
    for number in range(length + form.delay):
        if number == length:
            state = form.ended(state)
        logits, state = form.step(clip[:, :, min(number, length - 1)], state)
        if number >= first:
            scores.append(logits.float().softmax(1)[0])
    return torch.stack(scores).mean(0)
