"""The rows in continual form: sliding over whole videos, every frame computed once."""

from __future__ import annotations

import itertools
import logging
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from tqdm import tqdm

from mutualvideo.continual import ContinualNetwork
from mutualvideo.continual.frame_stream import takes
from mutualvideo.data.annotations import Video
from mutualvideo.data.transforms import normalize, test_transform
from mutualvideo.errors import CALIBRATE_BY_TOOLS, InputError
from mutualvideo.media import DecodeError
from mutualvideo.media.reading import open_reader
from mutualvideo.slim import require_calibrated, resample_clip
from mutualvideo.subnet import Subnet
from mutualvideo.table.continual_table import ContinualRow, ContinualTable

logger = logging.getLogger(__name__)

# Frames that are decoded and prepared at a time.
_CHUNK = 64
_TIMED = 9


@torch.inference_mode()
def continual_rows(
    model: nn.Module, subnets: Sequence[Subnet], videos: Sequence[Video], cfg: CfgNode
) -> ContinualTable:
    """Costs, delays and accuracies of sub-networks in continual form.

    Every video is a stream: its frames are as far apart as a clip's (DATA.SAMPLING_RATE), from
    its first to its last, the centre crop of each. The softmax is averaged over all positions of
    the window, as over sliding clips; a video shorter than the window has one. The sub-networks
    run on the statistics that they have for clips.

    Args:
        model: a slimmable network whose ``subnets`` are calibrated.
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
            frames = torch.cat(list(_frames(video, cfg)))
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


def _row(form: ContinualNetwork, subnet: Subnet, top1: float, cfg: CfgNode) -> ContinualRow:
    full, rate = cfg.DATA.NUM_FRAMES, cfg.DATA.TARGET_FPS / cfg.DATA.SAMPLING_RATE
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
    full, window = cfg.DATA.NUM_FRAMES, form.window
    taken = [n for n in range(len(frames)) if takes(window, full, n)]
    clip = resample_clip(frames[taken].transpose(0, 1)[None], len(taken), form.size)
    first = form.delay + min(window, len(taken)) - 1
    state, scores = form.start(), []
    for number in range(len(taken) + form.delay):
        if number == len(taken):
            state = form.ended(state)
        logits, state = form.step(clip[:, :, min(number, len(taken) - 1)], state)
        if number >= first:
            scores.append(logits.float().softmax(1)[0])
    return torch.stack(scores).mean(0)


def _frames(video: Video, cfg: CfgNode) -> Iterator[Tensor]:
    """Normalised float32 (T, 3, size, size), some frames at a time, as far apart as a clip's."""
    data = cfg.DATA
    size, share = data.TEST_CROP_SIZE, data.TEST_CROP_SHARE
    with open_reader(video, data.DECODING_BACKEND) as reader:
        apart = data.SAMPLING_RATE * reader.fps / data.TARGET_FPS
        # 1e-6: 2.9999999 out of the multiplication means 3.
        numbers = (int(apart * n + 1e-6) for n in itertools.count())
        wanted = list(itertools.takewhile(lambda number: number < len(reader), numbers))
        for begin in range(0, len(wanted), _CHUNK):
            pictures = reader.read(wanted[begin : begin + _CHUNK], round(size / share))
            square = test_transform(torch.from_numpy(pictures), size, 0, 1, share)
            yield normalize(square.movedim(-1, 1), data.MEAN, data.STD)
