"""Whether a file answers as the network that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mutualvideo.backends.common.base import softmax
from mutualvideo.export.origin import Origin
from mutualvideo.subnet import Subnet

# Of clips (B, 3, frames, size, size), float32, to logits (B, classes).
Logits = Callable[[np.ndarray], np.ndarray]

TOLERANCE = 1e-3
# Rounding in float32 may cost this share of a clip's largest logit in addition: a clip unlike those
# of training can have logits of hundreds, and 2e-5 of them were seen (OpenVINO's exponentials, long
# sums).
_ROUNDING = 1e-4
_BATCH = 3


class DifferenceError(Exception):
    """A file was written whose answers differ; it is not kept. The message is one line."""


@dataclass(frozen=True)
class Difference:
    """The largest absolute differences over all clips and classes.

    Args:
        scores: of softmax scores.
        logits: of what precedes the softmax.
        clips: how many were compared.
    """

    scores: float
    logits: float
    clips: int

    def __str__(self) -> str:
        return f"scores {self.scores:.1e}, logits {self.logits:.1e} ({self.clips} clips)"


def compare(source: Origin, subnet: Subnet, logits: Logits) -> Difference:
    """How far a written file is from the sliced torch network.

    Every clip is given by itself, and some as one batch: a file may be wrong for either.

    Args:
        source: :class:`~mutualvideo.export.origin.Origin`.
        subnet: which sub-network.
        logits: function of clips (B, 3, frames, size, size), float32 array to float32 array
            (B, classes).

    Returns:
        :class:`Difference`.

    Raises:
        DifferenceError: if a score differs by more than ``TOLERANCE``, a logit by more than that
            and 1e-4 of the clip's largest, or one is not a number.
    """
    data = source.cfg.DATA
    clips = probes(*source.shape(subnet), data.MEAN, data.STD)
    batch = min(_BATCH, len(clips))
    expected = np.concatenate([source.logits(subnet, clip[None]) for clip in clips])
    found = np.concatenate([logits(clip[None]) for clip in clips])
    pairs = ((found, expected), (logits(clips[:batch]), expected[:batch]))
    # Not max(): that one passes over NaN.
    scores = np.max([_apart(softmax(a), softmax(b)) for a, b in pairs])
    apart = np.max([_apart(*pair) for pair in pairs])
    excess = np.max([_apart(*pair, allowed=_ROUNDING) for pair in pairs])
    difference = Difference(float(scores), float(apart), len(clips))
    # Not the other way round: NaN is above nothing.
    if not (scores <= TOLERANCE and excess <= TOLERANCE):
        raise DifferenceError(
            f"sub-network {subnet}: the exported file differs from the torch network: "
            f"{difference}, allowed are {TOLERANCE:g}; it is not kept"
        )
    return difference


def _apart(found: np.ndarray, expected: np.ndarray, allowed: float = 0.0) -> float:
    """The largest difference, less the share ``allowed`` of each clip's largest value."""
    if found.shape != expected.shape:
        return np.inf
    difference = np.abs(found.astype(np.float64) - expected)
    return np.max(difference - allowed * np.abs(expected).max(1, keepdims=True))


def probes(
    frames: int | None, size: int, mean: Sequence[float], std: Sequence[float], seed: int = 0
) -> np.ndarray:
    """Clips to compare with: pictures as a camera might give them, and noise.

    Args:
        frames, size: of the clips; frames ``None``: of pictures.
        mean, std: per channel, of values from 0 to 1.

    Returns:
        float32 array (8, 3, frames, size, size), of pictures (8, 3, size, size): black, white, a
        moving bar, a drifting wave of colours, a flickering chessboard, noise of pictures, and
        two of the network's own range.
    """
    if frames is None:
        return probes(1, size, mean, std, seed)[:, :, 0]
    random = np.random.default_rng(seed)
    t, y, x = np.meshgrid(
        np.arange(frames) / frames, np.arange(size) / size, np.arange(size) / size, indexing="ij"
    )
    phase = np.arange(3).reshape(3, 1, 1, 1) / 3
    cells = (np.floor(8 * x) + np.floor(8 * y) + np.arange(frames).reshape(-1, 1, 1)) % 2
    pictures = [
        np.zeros((3, frames, size, size)),
        np.ones((3, frames, size, size)),
        np.broadcast_to(np.abs(x - t) < 0.15, (3, frames, size, size)),
        0.5 + 0.5 * np.sin(2 * np.pi * (2 * x + y + t + phase)),
        np.broadcast_to(cells, (3, frames, size, size)),
        random.random((3, frames, size, size)),
    ]
    shift, scale = (np.reshape(values, (3, 1, 1, 1)) for values in (mean, std))
    clips = [(picture - shift) / scale for picture in pictures]
    clips += list(random.standard_normal((2, 3, frames, size, size)))
    return np.stack(clips).astype(np.float32)
