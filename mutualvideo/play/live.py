"""Frames that do not wait: a thread reads them and keeps the newest one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

import numpy as np

from mutualvideo.errors import InputError
from mutualvideo.media.source import Seen, Source

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
# A media clock that jumps this far ahead has been reset.
_JUMP_S = 10.0


class Live(Source):
    """A live source.

    Holds one frame at most. Times are those of arrival, except for paced sources.

    Args:
        name: for files and messages.
        fps: nominal frame rate.
        connect: opens the stream and yields ``(media seconds, frame)``; called again when it
            was lost. Raises InputError when it cannot be had or breaks off.
        paced: whether to hold frames back until their media time has come.
        reconnects: attempts in a row after which the stream counts as lost; 0: the end of the
            stream is the end of the source.
        close: called on leaving the context.
    """

    live = True
    path: Path | None = None
    duration_s: float | None = None
    count: int | None = None

    def __init__(
        self,
        name: str,
        fps: float,
        connect: Callable[[], Iterable[tuple[float | None, np.ndarray]]],
        paced: bool = False,
        reconnects: int = 0,
        close: Callable[[], object] = lambda: None,
    ) -> None:
        self.name, self.fps, self.dropped = name, fps, 0
        self._connect, self._paced, self._reconnects = connect, paced, reconnects
        self._close = close
        self._changed = threading.Condition()
        self._latest: tuple[float, np.ndarray] | None = None
        self._error: Exception | None = None
        self._done = False

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def as_live(self) -> Source:
        return self

    def frames(
        self, seen: Seen, stop: threading.Event
    ) -> Generator[tuple[float, np.ndarray], None, None]:
        over = threading.Event()
        reader = threading.Thread(target=self._read, args=(seen, over), daemon=True)
        reader.start()
        try:
            while not stop.is_set():
                with self._changed:
                    # With a time-out, because setting ``stop`` does not notify the condition.
                    self._changed.wait_for(lambda: self._latest or self._done, timeout=0.1)
                    latest, self._latest = self._latest, None
                    done = self._done
                if latest is not None:
                    yield latest
                elif done:
                    if self._error is not None:
                        raise self._error
                    return
        finally:
            over.set()
            # A reader that hangs in the network ends with its time-out, unattended.
            reader.join(timeout=1.0)

    def _read(self, seen: Seen, over: threading.Event) -> None:
        try:
            for time_s, frame in self._timed(over):
                if over.is_set():
                    break
                seen(time_s, frame)
                with self._changed:
                    self.dropped += self._latest is not None
                    self._latest = (time_s, frame)
                    self._changed.notify()
        except Exception as error:
            # Raised where the frames are taken.
            self._error = error
        with self._changed:
            self._done = True
            self._changed.notify()

    def _timed(self, over: threading.Event) -> Iterator[tuple[float, np.ndarray]]:
        """(seconds from the first frame, frame): of arrival, or of the media when paced."""
        begin_s: float | None = None
        shift_s, last_s = 0.0, -1.0
        for media_s, frame, first in self._connections(over):
            now_s = time.monotonic()
            begin_s = now_s if begin_s is None else begin_s
            time_s = now_s = now_s - begin_s
            if self._paced:
                if first or not last_s < media_s + shift_s < last_s + _JUMP_S:
                    shift_s = now_s - media_s
                time_s = media_s + shift_s
                if over.wait(max(time_s - now_s, 0.0)):
                    return
            if time_s > last_s:
                last_s = time_s
                yield time_s, frame

    def _connections(self, over: threading.Event) -> Iterator[tuple[float, np.ndarray, bool]]:
        """(media seconds, frame, whether it is the first of a connection)."""
        lost = 0
        while not over.is_set():
            reason: object = f"{self.name}: the stream ended"
            first = True
            try:
                for media_s, frame in self._connect():
                    yield media_s or 0.0, frame, first
                    lost, first = 0, False
                if not self._reconnects:
                    return
            except InputError as error:
                reason = error
            lost += 1
            if lost > self._reconnects:
                attempts = f", after {self._reconnects} attempts to reconnect" if lost > 1 else ""
                raise InputError(f"{reason}: lost{attempts}")
            over.wait(min(_FIRST_PAUSE_S * 2 ** (lost - 1), _LONGEST_PAUSE_S))
