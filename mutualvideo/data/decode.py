"""The frames that are asked for, out of a video file.

A reader opens a file, knows the presentation time of every frame without decoding any, and
decodes what ``read`` asks for. Frames are found by presentation time, so variable frame
rates, wrong counts in the header, edit lists and a start other than 0 are all the same.
"""

import bisect
import itertools
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from mutualvideo.errors import InputError


class DecodeError(InputError):
    """A video file is missing, holds no video or does not decode; names the file."""


def open_video(path, backend="pyav"):
    """A reader of the frames of ``path``; see :class:`VideoReader`, which all are like."""
    if backend != "pyav":
        raise InputError(f"DATA.DECODING_BACKEND {backend!r} is unknown: pyav")
    return VideoReader(path)


class VideoReader:
    """Frames of the first video stream of a file, decoded with PyAV. A context manager.

    Opening reads the packets of the whole file and decodes none. Packets that the edit list
    discards, that are hidden (VP8 and VP9 reference frames) or that precede the first key
    frame do not count as frames.

    Args:
        path: the file.

    Attributes:
        timestamps: presentation time of every frame, a list of seconds, increasing.
        size: (height, width) as stored, before rotation, in pixels.
        fps: average frame rate; of a single frame, one over its duration (30 if unknown).

    Raises:
        DecodeError: if the file is missing, not a video, truncated, or has no video stream
            or no frame.
    """

    def __init__(self, path):
        self.path = str(path)
        self._container = None
        try:
            self._open()
            self._index()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __len__(self):
        return len(self._pts)

    def close(self):
        """Close the file. May be called twice; reading afterwards opens it again."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def read(self, indices, short_side=None):
        """Decode frames.

        Args:
            indices: frame numbers from 0, in any order, repetitions allowed.
            short_side: scale the frames so that their short side has this many pixels, while
                they are converted to RGB. Only ever downwards: a smaller video stays as it is.

        Returns:
            uint8 array (T, H, W, 3), RGB, rotated as the file says. Where the size changes
            within the file, all frames take the size of the earliest one asked for.

        Raises:
            DecodeError: if one of the frames does not decode.
            IndexError: if there is no index, or one outside ``0 .. len(self) - 1``.
        """
        indices = [int(index) for index in indices]
        if not indices or min(indices) < 0 or max(indices) >= len(self):
            raise IndexError(f"{self.path} has {len(self)} frames, asked for {indices}")
        frames = self._decode(sorted({self._pts[index] for index in indices}), short_side)
        return np.stack([frames[self._pts[index]] for index in indices])

    # Opening

    def _open(self):
        self.close()
        if not Path(self.path).is_file():
            raise DecodeError(f"{self.path}: no such video file; correct the list or its prefix")
        try:
            self._container = av.open(self.path)
        except (av.FFmpegError, OSError) as error:
            raise DecodeError(f"{self.path}: cannot be opened as a video ({_say(error)})") from None
        if not self._container.streams.video:
            raise DecodeError(f"{self.path}: holds no video stream (audio only?)")
        self._stream = self._container.streams.video[0]
        self.size = self._stream.codec_context.height, self._stream.codec_context.width
        # Loader workers are the parallelism: a pool of threads per open file would fight
        # them. One thread also makes skip_frame take effect packet by packet.
        self._stream.thread_type = "NONE"
        self._stream.codec_context.thread_count = 1

    def _index(self):
        is_hidden = _HIDDEN.get(self._stream.codec_context.name, lambda packet: False)
        self._first, shown, keys = None, {}, []
        # Until the first key frame a decoder has nothing to build on and shows nothing.
        # (Streams without a single one do exist: all their frames count.)
        before_key = {}
        try:
            for packet in self._container.demux(self._stream):
                if not packet.size:
                    continue  # the demuxer's last packet, which flushes the decoder
                if packet.is_corrupt:
                    raise DecodeError(f"{self.path}: is truncated or damaged; re-encode it")
                pts = _pts(packet)
                self._first = pts if self._first is None else self._first
                if pts is None:
                    continue
                if packet.is_keyframe:
                    keys.append(pts)
                if not (packet.is_discard or is_hidden(packet)):
                    (shown if keys else before_key)[pts] = packet.duration
        except av.FFmpegError as error:
            raise DecodeError(f"{self.path}: is damaged ({_say(error)})") from None
        shown = shown if keys else before_key
        if not shown:
            raise DecodeError(f"{self.path}: holds no video frame (empty or truncated file)")
        self._pts, self._keys = sorted(shown), sorted(keys)
        base = self._stream.time_base
        self.timestamps = [float(pts * base) for pts in self._pts]
        if len(self._pts) > 1:
            # Headers lie (1000 fps in many Matroska files): frames over the time they take.
            self.fps = (len(self._pts) - 1) / (self.timestamps[-1] - self.timestamps[0])
        else:
            duration = shown[self._pts[0]]
            self.fps = 1 / float(duration * base) if duration else 30.0

    # Decoding

    def _decode(self, wanted, short_side):
        """{presentation time: RGB frame} for the sorted presentation times ``wanted``."""
        frames, to_rgb = {}, _ToRgb(short_side)
        for run in self._runs(wanted):
            for packets in self._ways_to(run[0]):
                found, reason = self._collect(packets, run, to_rgb)
                if len(found) == len(run):
                    break
            else:
                missing = self._pts.index(next(pts for pts in run if pts not in found))
                raise DecodeError(
                    f"{self.path}: frame {missing} of {len(self)} does not decode ({reason}); "
                    "the file is damaged: re-encode it or take it off the list"
                )
            frames.update(found)
        return frames

    def _runs(self, wanted):
        """Split where whole groups of pictures lie between two wanted frames."""
        groups = [bisect.bisect_right(self._keys, pts) for pts in wanted]
        cuts = [n for n in range(1, len(wanted)) if groups[n] > groups[n - 1] + 1]
        return [wanted[a:b] for a, b in zip([0, *cuts], [*cuts, len(wanted)], strict=True)]

    def _ways_to(self, pts):
        """Packets from the key frame before ``pts`` on; should that fail, from the start.

        The second way is for files whose index lies about key frames: the frames that come
        out are the right ones either way.
        """
        number = bisect.bisect_right(self._keys, pts) - 1
        if number > 0:
            packets = self._seek(self._keys[number])
            first = next(packets, None)
            if first is not None and first.is_keyframe and first.pts is not None:
                if first.pts <= pts:
                    yield itertools.chain([first], packets)
        packets = self._seek(self._pts[0])
        first = next(packets, None)
        if first is None or _pts(first) != self._first:
            # Not every container can be sent back to its first packet.
            self._open()
            packets = self._container.demux(self._stream)
            first = next(packets)
        yield itertools.chain([first], packets)

    def _seek(self, pts):
        if self._container is None:
            self._open()
        try:
            self._container.seek(pts, stream=self._stream)
            yield from self._container.demux(self._stream)
        except (av.FFmpegError, OSError):
            return

    def _collect(self, packets, wanted, to_rgb):
        """As many of the ``wanted`` frames as come out, and why the rest does not."""
        remaining, frames = set(wanted), {}
        context = self._stream.codec_context
        try:
            for packet in packets:
                # No frame refers to a NONREF frame: skipping those leaves the rest exact.
                skip = bool(packet.size) and _pts(packet) not in remaining
                context.skip_frame = "NONREF" if skip else "DEFAULT"
                for frame in packet.decode():
                    if frame.pts not in remaining:
                        continue
                    frames[frame.pts] = to_rgb(frame)
                    remaining.discard(frame.pts)
                    if not remaining:
                        return frames, None
        except (av.FFmpegError, OSError) as error:
            return frames, _say(error)
        return frames, "the decoder shows no such frame"


def _pts(packet):
    # Old AVI files have decoding times only; their frames are not reordered.
    return packet.dts if packet.pts is None else packet.pts


class _ToRgb:
    """Decoded frames to RGB arrays, all of the size that the first one gets."""

    def __init__(self, short_side):
        self._short_side, self._size = short_side, None
        self._reformatter = VideoReformatter()  # keeps its tables from frame to frame

    def __call__(self, frame):
        self._size = self._size or self._size_for(frame.width, frame.height)
        rgb = self._reformatter.reformat(frame, *self._size, format="rgb24").to_ndarray()
        # Degrees counter-clockwise, as np.rot90 turns; oblique angles go to the nearest side.
        return np.rot90(rgb, round(frame.rotation / 90))

    def _size_for(self, width, height):
        short = min(width, height)
        if self._short_side is None or self._short_side >= short:
            return width, height
        return tuple(
            self._short_side if side == short else round(side * self._short_side / short)
            for side in (width, height)
        )


def _say(error):
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _vp8_is_hidden(packet):
    # RFC 6386, 9.1: bit 4 of the frame tag is show_frame.
    return not memoryview(packet)[0] >> 4 & 1


def _vp9_is_hidden(packet):
    # VP9 bitstream specification, 6.2 and annex B: the uncompressed header begins with
    # frame_marker (2 bits), profile (2, and 1 reserved in profile 3), show_existing_frame,
    # frame_type, show_frame; a superframe ends in its marker and shows its last frame.
    data = memoryview(packet)
    if data[-1] & 0xE0 == 0xC0:
        return False
    first = data[0] << 1 if data[0] & 0x30 == 0x30 else data[0]
    shows_existing, shows = first & 0x08, first & 0x02
    return not shows_existing and not shows


_HIDDEN = {"vp8": _vp8_is_hidden, "vp9": _vp9_is_hidden}
