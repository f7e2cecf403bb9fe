"""BatchNorm statistics of sub-networks in continual form: those of streams rather than of clips.

Near the ends of a clip temporal convolutions see zeros, and clips are short: in X3D-M's 16 frames
every position of the last features sees some. In a stream hardly any does, and squeeze-excitation
averages over the frames before. So activations are distributed otherwise, and the statistics that
were calibrated on clips do not fit them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from fvcore.nn.squeeze_excitation import SqueezeExcitation
from torch import Tensor, nn
from torch.nn import functional as F

from mutualvideo.continual.frame_stream import takes
from mutualvideo.slim import resample_clip, set_subnet
from mutualvideo.slim.statistics.calibrate import collect
from mutualvideo.subnet import Subnet


def calibrate_streams(
    model: nn.Module, subnets: Sequence[Subnet], streams: Iterable[Tensor], full_frames: int
) -> None:
    """:func:`~mutualvideo.slim.calibrate` for sub-networks in continual form.

    A network that computes each frame once, over a stream from its first frame to its last, is
    the network for clips over all of the stream at once, but for squeeze-excitation
    (:func:`over_windows`). So the streams run through the network as long clips.

    Args:
        model: a slimmable X3D or Slow. Its statistics of ``subnets`` are replaced.
        subnets: which; all have frames.
        streams: batches of streams, float32 (B, 3, T, S, S), normalised, on the model's device,
            frames as far apart as those of a full clip; T is any number from 1.
        full_frames: frames of a full clip.

    Raises:
        InputError: if ``streams`` is empty, or a sub-network cannot be run.
    """

    def each(model: nn.Module, batch: Tensor, subnets: Sequence[Subnet]) -> Iterator:
        for subnet in subnets:
            frames = subnet.frames or full_frames
            set_subnet(model, subnet)
            with over_windows(model, frames):
                yield subnet, of_stream(batch, frames, subnet.size, full_frames)

    def weight(batch: Tensor) -> int:
        return batch.shape[0] * batch.shape[2]

    collect(model, subnets, streams, each, weight)


def of_stream(stream: Tensor, frames: int, size: int, full_frames: int) -> Tensor:
    """What a sub-network takes of whole streams, (B, 3, T, S, S) to (B, 3, T', size, size)."""
    taken = [n for n in range(stream.shape[2]) if takes(frames, full_frames, n)]
    return resample_clip(stream[:, :, taken], len(taken), size)


@contextmanager
def over_windows(model: nn.Module, frames: int) -> Iterator[None]:
    """Squeeze-excitation of ``model`` averages over the last ``frames`` frames of each position.

    In a clip it averages over the whole clip; in continual form, as in CoX3D (arXiv 2106.00050),
    over the window up to the newest frame.
    """
    found = [module for module in model.modules() if isinstance(module, SqueezeExcitation)]
    for module in found:
        module.forward = partial(_excite, module, frames)
    try:
        yield
    finally:
        for module in found:
            del module.forward


def _excite(module: SqueezeExcitation, frames: int, x: Tensor) -> Tensor:
    sums = x.mean((3, 4), keepdim=True).cumsum(2)
    length = x.shape[2]
    sums = sums - F.pad(sums, (0, 0, 0, 0, frames, 0))[:, :, :length]
    held = torch.arange(1, length + 1, device=x.device).clamp(max=frames)
    return x * module.block(sums / held.to(x.dtype)[:, None, None])
