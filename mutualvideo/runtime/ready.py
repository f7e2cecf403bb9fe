"""Sub-networks for callers that must not wait, and the input of any of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from mutualvideo.backends import Runner
from mutualvideo.errors import InputError
from mutualvideo.runtime.executor import Executor
from mutualvideo.runtime.prepared import PreparationError
from mutualvideo.runtime.preprocess import Preprocessing, as_clips, full_clip, prepare
from mutualvideo.subnet import Subnet

# How long to wait before what could not be prepared is tried again.
_RETRY_S = 30.0


class ReadyRunners:
    """The runners of an executor that can be had now; others are prepared in the background.

    Not thread-safe; never waits, except for a backend whose preparation takes no time.

    Args:
        executor: an :class:`~mutualvideo.runtime.executor.Executor`.
        wake: called, by any thread, when a preparation has ended; must not wait.
        clock: seconds.
    """

    def __init__(
        self,
        executor: Executor,
        wake: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prepared, self._backend = executor.runners, executor.backend
        self._wake, self._clock = wake, clock
        self._asked: dict[Subnet, Future[Runner]] = {}
        self._failed: dict[Subnet, tuple[PreparationError, float]] = {}

    def __contains__(self, subnet: Subnet) -> bool:
        """Whether ``subnet`` can answer at once."""
        if self._backend.immediate:
            return self.failure(subnet) is None
        return subnet in self._prepared

    def runner(self, subnet: Subnet) -> Runner | None:
        """The runner of ``subnet``, or ``None`` if it is not ready or failed."""
        runner = self._prepared.ready(subnet)
        if runner is None and self._backend.immediate:
            self.ask([subnet])
            runner = self._prepared.ready(subnet)
        return runner

    def ask(self, subnets: Iterable[Subnet]) -> None:
        """Has ``subnets`` prepared, but for those that failed lately."""
        for subnet in subnets:
            if subnet not in self._asked and self.failure(subnet) is None:
                self._asked[subnet] = job = self._prepared.ask(subnet)
                job.add_done_callback(lambda _: self._wake())
        self._collect()

    def failure(self, subnet: Subnet) -> PreparationError | None:
        """The PreparationError with which preparing ``subnet`` ended lately, or ``None``."""
        self._collect()
        if subnet not in self._failed:
            return None
        error, at_s = self._failed[subnet]
        if self._clock() - at_s >= _RETRY_S:
            del self._failed[subnet]
            return None
        return error

    def _collect(self) -> None:
        for subnet, job in list(self._asked.items()):
            if job.done():
                del self._asked[subnet]
                error = None if job.cancelled() else job.exception()
                if isinstance(error, PreparationError):
                    self._failed[subnet] = error, self._clock()


class Frames:
    """One clip, cropped; the input of any sub-network is made from it.

    Args:
        clip: one, or one picture, as ``AdaptiveRecognizer.predict`` takes it.
        preprocessing: ``Preprocessing``.

    Raises:
        InputError: for another dtype or shape, or several clips.
    """

    def __init__(self, clip: Any, preprocessing: Preprocessing) -> None:
        clips = as_clips(clip, pictures=preprocessing.num_frames is None)
        if len(clips) != 1:
            raise InputError(f"clip: expected one, got {len(clips)}: submit each on its own")
        self._full, self._preprocessing = full_clip(clips[0], preprocessing)
        self._shape: tuple[int | None, int] | None = None
        self._input: np.ndarray | None = None

    def input(self, shape: tuple[int | None, int]) -> np.ndarray:
        """float32 (3, frames, size, size), of a picture (3, size, size); the last is kept.

        Args:
            shape: (frames or ``None``, size).
        """
        if self._input is None or shape != self._shape:
            self._input = prepare(self._full, self._preprocessing, *shape)
            self._shape = shape
        return self._input


def stack(clips: Sequence[Frames], shape: tuple[int | None, int]) -> np.ndarray:
    """The inputs of a list of :class:`Frames` as one batch."""
    return np.stack([clip.input(shape) for clip in clips])
