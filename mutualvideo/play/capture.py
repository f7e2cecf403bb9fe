"""Where frames come from: video files, network streams, cameras, read in one way.

A source is a context manager with ``name`` (fit for a file), ``path`` (of a file), ``live``,
``fps``, ``duration_s`` and ``count`` of frames (all ``None`` where unknown), ``dropped`` and
``frames(seen, stop)``, a generator of ``(time_s, frame)``: seconds from the first frame,
increasing, and uint8 (H, W, 3) RGB, upright, its short side at most 720 px. ``seen`` is called
with every decoded frame, in order; ``stop`` (a ``threading.Event``) ends it. Frames can be had
once. A recording waits for whoever takes them. A live source does not: it keeps the newest frame
alone and counts those that nobody took.
"""

import re
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from mutualvideo.errors import InputError
from mutualvideo.media import VideoReader
from mutualvideo.play.live import Live

MAX_SHORT_SIDE = 720


class SourceError(InputError):
    """A source cannot be opened, holds no video or breaks off; names it."""


_CAMERA = {
    "linux": ("v4l2", "/dev/video{}"),
    "darwin": ("avfoundation", "{}"),
    "win32": ("dshow", "video={}"),
}
# Cameras lose packets over UDP, and every one of them can do TCP.
_OPTIONS = {"rtsp": {"rtsp_transport": "tcp"}, "rtsps": {"rtsp_transport": "tcp"}}


def open_source(address, realtime=False, timeout_s=10.0, reconnects=5):
    """The source at an address.

    Args:
        address: path of a video file; ``webcam:0`` (on Windows ``webcam:NAME``) or
            ``/dev/video0``; an address with ``rtsp://``, ``http://``, ``https://`` or whatever
            else FFmpeg opens. One of known length is a recording, except over RTSP.
        realtime: plays a recording as if it were live, at its own pace.
        timeout_s: seconds without data after which a network stream is lost.
        reconnects: attempts to get a live network stream back before giving up.

    Raises:
        SourceError, DecodeError: name the address if it cannot be opened or shows no video.
        InputError: if an option is wrong.
    """
    if not timeout_s > 0 or reconnects < 0:
        raise InputError(
            f"timeout {timeout_s}, reconnects {reconnects}: must be above 0 and at least 0"
        )
    address, name = str(address), display_name(address)
    if camera := _camera(address):
        path, form = camera
        # A camera that is unplugged is gone: nothing to reconnect to.
        return _live(name, _Opener(path, name, timeout_s, form), 0)
    if "://" not in address:
        with VideoReader(address) as reader:
            times, fps = reader.timestamps, reader.fps
        opener = _Opener(address, address, None)
        duration_s = times[-1] - times[0] + 1 / fps
        recording = Recording(Path(address).stem, opener, fps, duration_s, len(times))
        recording.path = Path(address)
    else:
        opener = _Opener(address, name, timeout_s)
        container = opener.connect()
        if container.duration is None or address.startswith("rtsp"):
            return _live(name, opener, reconnects, container)
        fps, duration_s = _fps(container), container.duration / av.time_base
        recording = Recording(_file_name(name), opener, fps, duration_s, None, container)
    return recording.as_live() if realtime else recording


def display_name(address):
    """The address without what must not be read in a log: user, password, query."""
    parts = urlsplit(str(address))
    if "://" not in str(address):
        return str(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Recording:
    """Frames at the pace of whoever takes them, none dropped; made by :func:`open_source`."""

    live, dropped, path = False, 0, None

    def __init__(self, name, opener, fps, duration_s, count, container=None):
        self.name, self.fps, self.duration_s, self.count = name, fps, duration_s, count
        self._opener, self._container = opener, container

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._container is not None:
            self._container.close()

    def frames(self, seen, stop):
        for time_s, frame in self._decoded():
            if stop.is_set():
                return
            seen(time_s, frame)
            yield time_s, frame

    def as_live(self):
        """The same, played at its own pace to whoever is in time."""
        source = Live(self.name, self.fps, self._decoded, paced=True, close=self.__exit__)
        source.path = self.path
        return source

    def _decoded(self):
        container, self._container = self._container or self._opener.connect(), None
        last_s, shift_s = None, 0.0
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


class _Opener:
    """Opens one address, as often as need be, and says clearly when it cannot."""

    def __init__(self, address, name, timeout_s, form=None):
        self._address, self._name, self._timeout_s, self._form = address, name, timeout_s, form

    def connect(self):
        begin_s = time.monotonic()
        options = _OPTIONS.get(self._address.partition("://")[0], {})
        try:
            container = av.open(
                self._address, format=self._form, options=options, timeout=self._timeout_s
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            # Interrupted by the time-out, some protocols say that, others invent a reason.
            late = self._timeout_s is not None and time.monotonic() - begin_s >= self._timeout_s
            reason = self._say(TimeoutError() if late else error)
            raise SourceError(f"{self._name}: cannot be opened ({reason})") from None
        if not container.streams.video:
            container.close()
            raise SourceError(f"{self._name}: holds no video stream (audio only?)")
        return container

    def decode(self, container, tolerant):
        """(seconds or None, RGB frame); a tolerant one steps over packets that do not decode."""
        stream, to_rgb = container.streams.video[0], _ToRgb()
        try:
            for packet in _packets(container, stream):
                try:
                    frames = packet.decode()
                except av.InvalidDataError:
                    if not tolerant:
                        raise
                    continue
                for frame in frames:
                    yield frame.time, to_rgb(frame)
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"{self._name}: broke off ({self._say(error)})") from None

    def _say(self, error):
        if isinstance(error, (av.error.ExitError, TimeoutError)):
            return f"no answer within {self._timeout_s:g} s"
        return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _packets(container, stream):
    while True:
        try:
            yield from container.demux(stream)
            return
        except av.BlockingIOError:
            pass  # a camera on macOS that has no picture yet


class _ToRgb:
    def __init__(self):
        self._reformatter = VideoReformatter()  # keeps its tables from frame to frame

    def __call__(self, frame):
        scale = min(1.0, MAX_SHORT_SIDE / min(frame.width, frame.height))
        size = round(frame.width * scale), round(frame.height * scale)
        rgb = self._reformatter.reformat(frame, *size, format="rgb24").to_ndarray()
        # Degrees counter-clockwise, as np.rot90 turns.
        return np.ascontiguousarray(np.rot90(rgb, round(frame.rotation / 90)))


def _live(name, opener, reconnects, container=None):
    first = [container or opener.connect()]
    fps, lumps = _fps(first[0]), first[0].format.name == "hls"

    def connection():
        with first.pop() if first else opener.connect() as opened:
            yield from opener.decode(opened, tolerant=True)

    def close(*_):
        for opened in first:
            opened.close()

    # HLS comes in segments of seconds: played as they come, all but the last would be dropped.
    return Live(_file_name(name), fps, connection, lumps, reconnects, close)


def _camera(address):
    """(what FFmpeg opens, its format), or ``None`` if the address is no camera."""
    if address.startswith("/dev/"):
        return address, _CAMERA["linux"][0]
    if not address.startswith("webcam:"):
        return None
    if sys.platform not in _CAMERA:
        raise InputError(f"{address}: cameras are not known on {sys.platform}; give an address")
    form, pattern = _CAMERA[sys.platform]
    return pattern.format(address.partition(":")[2] or "0"), form


def _fps(container):
    stream = container.streams.video[0]
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    # Streams without a rate of their own claim that of their clock, 1000 or 90000.
    return rate if 1 <= rate <= 240 else 30.0


def _file_name(name):
    return re.sub(r"[^A-Za-z0-9.-]+", "_", re.sub(r"^\w+://", "", name)).strip("._") or "stream"
