"""The last seconds of a stream, scaled down, and the clips cut from them."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from typing import Any

import numpy as np
from PIL import Image

from mutualvideo.data.sampling import read_size

# Containers that count in milliseconds (Matroska) are off a constant rate by up to half of one.
_ROUNDING_S = 6e-4
_EPSILON_S = 1e-7


class ClipWindow:
    """Keeps the frames that the next clip may need; any number of threads may add and cut.

    A clip spans ``NUM_FRAMES * SAMPLING_RATE / TARGET_FPS`` seconds at any frame rate. Its
    frames are those on screen at ``NUM_FRAMES`` even instants, the first at the beginning of
    the span and the last one frame before its end: at a constant frame rate exactly
    ``mutualvideo.data.sampling.clip_indices``, which training and evaluation use.

    Args:
        data: the DATA section of a configuration.
        fps: nominal frame rate of the stream; ``1 / fps`` is what the last frame lasts.
    """

    def __init__(self, data: Any, fps: float) -> None:
        self.span_s = data.NUM_FRAMES * data.SAMPLING_RATE / data.TARGET_FPS
        self.frame_s = 1 / fps
        self._count, self._short_side = data.NUM_FRAMES, read_size(data)
        self._frames: deque[tuple[float, np.ndarray]] = deque()
        self._size: tuple[int, int] | None = None
        self._lock = threading.RLock()
        self._first_s: float | None = None

    def __len__(self) -> int:
        """Frames held."""
        return len(self._frames)

    @property
    def end_s(self) -> float | None:
        """When the newest frame stops being shown; ``None`` before the first."""
        with self._lock:
            return self._frames[-1][0] + self.frame_s if self._frames else None

    @property
    def full(self) -> bool:
        """Whether a whole span has gone by since the first frame."""
        end_s = self.end_s
        if end_s is None or self._first_s is None:
            return False
        return end_s - self._first_s >= self.span_s - _EPSILON_S

    def add(self, time_s: float, frame: np.ndarray) -> None:
        """Takes in the next frame.

        Args:
            time_s: seconds, later than those before.
            frame: uint8 (H, W, 3); a copy is kept whose short side is as evaluation
                reads it (``TEST_CROP_SIZE / TEST_CROP_SHARE``) where it was larger.
        """
        small = self._small(frame)
        nominal_s = round(time_s / self.frame_s) * self.frame_s
        time_s = nominal_s if abs(time_s - nominal_s) < _ROUNDING_S else time_s
        with self._lock:
            self._first_s = time_s if self._first_s is None else self._first_s
            self._frames.append((time_s, small))

    def forget(self, before_s: float) -> None:
        """Lets go of what is no longer on screen at ``before_s``."""
        with self._lock:
            while len(self._frames) > 1 and self._frames[1][0] <= before_s + _EPSILON_S:
                self._frames.popleft()

    def forget_old(self) -> None:
        """Keeps only the newest span."""
        end_s = self.end_s
        if end_s is not None:
            self.forget(end_s - self.span_s)

    def spanned(self, end_s: float | None = None) -> tuple[float, float]:
        """Beginning and end, in seconds, of what :meth:`clip` of the same end shows.

        Raises:
            ValueError: if there is no frame.
        """
        with self._lock:
            if not self._frames or self._first_s is None:
                raise ValueError("no frame yet")
            newest_s = self._frames[-1][0] + self.frame_s
            start_s = min(newest_s if end_s is None else end_s, newest_s) - self.span_s
            start_s = max(start_s, self._first_s)
        return start_s, min(start_s + self.span_s, newest_s)

    def clip(self, end_s: float | None = None) -> np.ndarray:
        """The clip that ends at ``end_s``, moved inwards if it reaches beyond the stream.

        A stream shorter than a clip is covered from end to end, with repetitions.

        Args:
            end_s: seconds; ``None``: the newest clip.

        Returns:
            uint8 array (NUM_FRAMES, H, W, 3).

        Raises:
            ValueError: if there is no frame.
        """
        with self._lock:
            start_s, end_s = self.spanned(end_s)
            times, frames = zip(*self._frames, strict=True)
        last_s = max(end_s - self.frame_s, start_s)
        if self._count == 1:
            instants = [(start_s + last_s) / 2]
        else:
            instants = np.linspace(start_s, last_s, self._count).tolist()
        shown = [bisect_right(times, instant + _EPSILON_S) - 1 for instant in instants]
        return np.stack([frames[max(number, 0)] for number in shown])

    def _small(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        if self._size is None:
            # Rounded as the decoders do; a stream that changes its size keeps the first one.
            scale = min(1.0, self._short_side / min(height, width))
            self._size = round(width * scale), round(height * scale)
        if (width, height) == self._size:
            return frame.copy()
        picture = Image.fromarray(frame).resize(self._size, Image.Resampling.BILINEAR)
        return np.asarray(picture)


class Smoother:
    """Scores averaged over time, each weighted by ``exp(-age / seconds)``.

    Args:
        seconds: time constant, so that the stride does not matter; 0: no averaging.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._time_s = seconds, 0.0
        self._scores: np.ndarray | None = None

    def __call__(self, time_s: float, scores: np.ndarray) -> np.ndarray:
        """The average up to now of ``scores`` (classes,) and those before; sums to 1 as they do."""
        if self._scores is None or self._seconds == 0:
            self._scores = scores
        else:
            kept = float(np.exp((self._time_s - time_s) / self._seconds))
            self._scores = kept * self._scores + (1 - kept) * scores
        self._time_s = time_s
        return self._scores
