"""What a source of frames is, for everything that takes frames from one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

Seen = Callable[[float, np.ndarray], object]
Self = TypeVar("Self", bound="Source")


class Source(Protocol):
    """Frames in their order, a file's or a camera's. A context manager.

    A recording waits until its frames are taken. A live source does not wait: it keeps only the
    newest frame and counts those that were never taken.

    Attributes:
        name: fit for a file name.
        path: of the file; ``None``: it is no file.
        live: whether it goes on while no frame is taken.
        fps: nominal frame rate.
        duration_s: length in seconds; ``None``: unknown.
        count: number of frames; ``None``: unknown.
        dropped: frames of a live source that were never taken.
    """

    name: str
    path: Path | None
    live: bool
    fps: float
    duration_s: float | None
    count: int | None
    dropped: int

    def __enter__(self: Self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def frames(
        self, seen: Seen, stop: threading.Event
    ) -> Generator[tuple[float, np.ndarray], None, None]:
        """A generator of ``(time_s, frame)``; frames can be had once.

        Args:
            seen: called with time and frame of every decoded frame, in order, also of those
                that are dropped.
            stop: ends it.

        Yields:
            Seconds from the first frame, increasing, and uint8 arrays (H, W, 3), RGB, upright,
            with a short side of at most 720 pixels.

        Raises:
            InputError: if the source breaks off or is lost.
        """
        ...

    def as_live(self) -> Source:
        """The same, played at its own pace; a live source returns itself."""
        ...
