"""Where frames come from: video files, network streams and cameras, each a ``Source``."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from av.container import InputContainer

from mutualvideo.errors import InputError
from mutualvideo.files import StrPath
from mutualvideo.media import VideoReader
from mutualvideo.media.source import Seen, Source
from mutualvideo.media.stream import SourceError, StreamOpener, duration_s, nominal_fps
from mutualvideo.media_kind import require_moving
from mutualvideo.play.live import Live

__all__ = ["Recording", "SourceError", "open_source", "public_address"]

MAX_SHORT_SIDE = 720


_CAMERA = {
    "linux": ("v4l2", "/dev/video{}"),
    "darwin": ("avfoundation", "{}"),
    "win32": ("dshow", "video={}"),
}


def open_source(
    address: StrPath,
    realtime: bool = False,
    timeout_s: float = 10.0,
    reconnects: int = 5,
    max_short_side: int = MAX_SHORT_SIDE,
) -> Source:
    """The source at an address.

    Args:
        address: path of a video file; ``webcam:0`` (on Windows ``webcam:NAME``) or
            ``/dev/video0``; an address with ``rtsp://``, ``http://``, ``https://`` or whatever
            else FFmpeg opens. One of known length is a recording, except over RTSP.
        realtime: plays a recording as if it were live, at its own pace.
        timeout_s: seconds without data after which a network stream is lost.
        reconnects: attempts to get a live network stream back before giving up.
        max_short_side: pixels; frames with a longer short side are scaled down to it.

    Raises:
        SourceError, DecodeError: name the address if it cannot be opened or shows no video.
        InputError: if an option is wrong.
    """
    if not timeout_s > 0 or reconnects < 0:
        raise InputError(
            f"timeout {timeout_s}, reconnects {reconnects}: must be above 0 and at least 0"
        )
    address, name = str(address), public_address(address)
    if camera := _camera(address):
        path, form = camera
        # A camera that is unplugged is gone: nothing to reconnect to.
        return _live(name, StreamOpener(path, name, timeout_s, form, max_short_side), 0)
    if "://" not in address:
        with VideoReader(address) as reader:
            times, fps = reader.timestamps, reader.fps
        require_moving(address, len(times))
        opener = StreamOpener(os.path.abspath(address), address, None, short_side=max_short_side)
        length_s = times[-1] - times[0] + 1 / fps
        recording = Recording(Path(address).stem, opener, fps, length_s, len(times))
        recording.path = Path(address)
    else:
        opener = StreamOpener(address, name, timeout_s, short_side=max_short_side)
        container = opener.connect()
        found_s, fps = duration_s(container), nominal_fps(container)
        if found_s is None or address.startswith("rtsp"):
            return _live(name, opener, reconnects, container)
        recording = Recording(_file_name(name), opener, fps, found_s, None, container)
    return recording.as_live() if realtime else recording


def public_address(address: object) -> str:
    """The address without what must not be read in a log: user, password, query."""
    parts = urlsplit(str(address))
    if "://" not in str(address):
        return str(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Recording(Source):
    """Frames at the pace at which they are taken, none dropped; made by :func:`open_source`."""

    live, dropped = False, 0
    path: Path | None = None

    def __init__(
        self,
        name: str,
        opener: StreamOpener,
        fps: float,
        duration_s: float,
        count: int | None,
        container: InputContainer | None = None,
    ) -> None:
        self.name, self.fps, self.duration_s, self.count = name, fps, duration_s, count
        self._opener, self._container = opener, container

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *error: object) -> None:
        if self._container is not None:
            self._container.close()

    def frames(
        self, seen: Seen, stop: threading.Event
    ) -> Generator[tuple[float, np.ndarray], None, None]:
        for time_s, frame in self._decoded():
            if stop.is_set():
                return
            seen(time_s, frame)
            yield time_s, frame

    def as_live(self) -> Source:
        """The same, played at its own pace; frames that are not taken in time are dropped."""
        source = Live(self.name, self.fps, self._decoded, paced=True, close=self.__exit__)
        source.path = self.path
        return source

    def _decoded(self) -> Iterator[tuple[float, np.ndarray]]:
        container, self._container = self._container or self._opener.connect(), None
        last_s: float | None = None
        shift_s = 0.0
        with container:
            for media_s, frame in self._opener.decode(container, tolerant=False):
                if last_s is None:
                    shift_s = -(media_s or 0.0)
                elif media_s is None or media_s + shift_s <= last_s:
                    # No time, or a join of two recordings: it follows on the last one.
                    media_s = last_s - shift_s if media_s is None else media_s
                    shift_s = last_s + 1 / self.fps - media_s
                last_s = (media_s or 0.0) + shift_s
                yield last_s, frame


def _live(
    name: str, opener: StreamOpener, reconnects: int, container: InputContainer | None = None
) -> Live:
    first = [container or opener.connect()]
    fps, lumps = nominal_fps(first[0]), first[0].format.name == "hls"

    def connection() -> Iterator[tuple[float | None, np.ndarray]]:
        with first.pop() if first else opener.connect() as opened:
            yield from opener.decode(opened, tolerant=True)

    def close(*_: object) -> None:
        for opened in first:
            opened.close()

    # HLS comes in segments of seconds: played as they come, all but the last would be dropped.
    return Live(_file_name(name), fps, connection, lumps, reconnects, close)


def _camera(address: str) -> tuple[str, str] | None:
    """(what FFmpeg opens, its format), or ``None`` if the address is no camera."""
    if address.startswith("/dev/"):
        return address, _CAMERA["linux"][0]
    if not address.startswith("webcam:"):
        return None
    if sys.platform not in _CAMERA:
        raise InputError(f"{address}: cameras are not known on {sys.platform}; give an address")
    form, pattern = _CAMERA[sys.platform]
    return pattern.format(address.partition(":")[2] or "0"), form


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "_", re.sub(r"^\w+://", "", name)).strip("._") or "stream"
