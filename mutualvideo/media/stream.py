"""Frames in the order in which they come, from whatever FFmpeg opens: files, streams, cameras."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator

import av
import numpy as np
from av.container import InputContainer

from mutualvideo.errors import InputError
from mutualvideo.media.colour import ToRgb
from mutualvideo.media.packet_index import moving_streams, say

# Cameras lose packets over UDP, and every one of them can do TCP.
_OPTIONS = {"rtsp": {"rtsp_transport": "tcp"}, "rtsps": {"rtsp_transport": "tcp"}}


class SourceError(InputError):
    """A source cannot be opened, holds no video or breaks off; names it."""


class StreamOpener:
    """Opens one address, as often as need be, and says clearly when it cannot.

    Args:
        address: what FFmpeg opens.
        name: of it, for messages.
        timeout_s: seconds without data after which it is lost; ``None``: it is waited for.
        form: FFmpeg's name of the format; ``None``: FFmpeg finds out.
        short_side: frames are scaled down to a short side of at most this many pixels.
    """

    def __init__(
        self,
        address: str,
        name: str,
        timeout_s: float | None,
        form: str | None = None,
        short_side: int | None = None,
    ) -> None:
        self._address, self._name, self._timeout_s, self._form = address, name, timeout_s, form
        self._short_side = short_side

    def connect(self) -> InputContainer:
        """An opened container with a video stream.

        Raises:
            SourceError: if there is none.
        """
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
        if not moving_streams(container):
            container.close()
            raise SourceError(f"{self._name}: holds no video stream (audio only?)")
        return container

    def decode(
        self, container: InputContainer, tolerant: bool
    ) -> Iterator[tuple[float | None, np.ndarray]]:
        """Yields ``(seconds or None, frame)``, frames uint8 (H, W, 3), RGB, upright.

        Args:
            container: from :meth:`connect`.
            tolerant: whether to step over packets that do not decode.

        Raises:
            SourceError: if the stream breaks off.
        """
        stream = moving_streams(container)[0]
        to_rgb = ToRgb(self._short_side, one_size=False)
        try:
            for packet in _packets(container, stream):
                try:
                    frames = packet.decode()
                except av.InvalidDataError:
                    if not tolerant:
                        raise
                    continue
                for frame in frames:
                    yield frame.time, np.ascontiguousarray(to_rgb(frame))
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"{self._name}: broke off ({self._say(error)})") from None

    def _say(self, error: Exception) -> str:
        if isinstance(error, (av.error.ExitError, TimeoutError)):
            return f"no answer within {self._timeout_s:g} s"
        return say(error)


def open_untrusted(path: str, formats: Iterable[str]) -> InputContainer:
    """Opens a file that may name no other file, nor an address, for FFmpeg to open.

    Args:
        path: the file.
        formats: the container formats it may have, as FFmpeg calls them.

    Raises:
        SourceError: if it cannot be opened; the message is what FFmpeg says.
    """
    options = {"format_whitelist": ",".join(formats), "protocol_whitelist": "file"}
    try:
        return av.open(os.path.abspath(path), options=options)
    except (av.FFmpegError, OSError) as error:
        raise SourceError(say(error)) from None


def _packets(
    container: InputContainer, stream: av.VideoStream
) -> Iterator[av.Packet[av.VideoStream]]:
    while True:
        try:
            yield from container.demux(stream)
            return
        except av.BlockingIOError:
            pass  # a camera on macOS that has no picture yet


def nominal_fps(container: InputContainer) -> float:
    """The frame rate that a stream says it has; 30 where that cannot be."""
    stream = moving_streams(container)[0]
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    # Streams without a rate of their own claim that of their clock, 1000 or 90000.
    return rate if 1 <= rate <= 240 else 30.0


def duration_s(container: InputContainer) -> float | None:
    """Length of what was opened, in seconds, as its header has it; ``None``: unknown or live."""
    return None if container.duration is None else container.duration / av.time_base
