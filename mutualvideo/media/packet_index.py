"""When every frame of a file is shown, from its packets: nothing is decoded."""

from dataclasses import dataclass
from fractions import Fraction

import av
from av.stream import Disposition

from mutualvideo.media.reader import DecodeError, require_descriptors


@dataclass(frozen=True)
class FrameIndex:
    """The frames of a stream, in units of its time base.

    Args:
        pts: presentation time of every frame, increasing.
        keys: those of key frames, increasing, whether shown or not.
        first: that of the first packet in the file, None if it has none.
        last_duration: of the last frame; 0 if unknown.
        time_base: seconds.
        size: (height, width) as stored, before rotation, in pixels; ``None`` where only the frames
            know.
    """

    pts: list[int]
    keys: list[int]
    first: int | None
    last_duration: int
    time_base: Fraction
    size: tuple[int, int] | None

    @property
    def timestamps(self):
        """Presentation time of every frame, a list of seconds."""
        return [float(pts * self.time_base) for pts in self.pts]

    @property
    def fps(self):
        """Average frame rate; of a single frame, one over its duration (30 if unknown)."""
        if len(self.pts) > 1:
            # Headers lie (1000 fps in many Matroska files): frames over the time they take.
            return float((len(self.pts) - 1) / ((self.pts[-1] - self.pts[0]) * self.time_base))
        return 1 / float(self.last_duration * self.time_base) if self.last_duration else 30.0


def open_container(content):
    """Open a file, or a member of a shard.

    Args:
        content: :class:`mutualvideo.media.shards.Content`.

    Returns:
        ``(container, stream)``: PyAV's, the stream being the first with moving pictures.

    Raises:
        DecodeError: if the file is missing, not a video, or has no such stream.
    """
    path = content.path
    if not content.exists():
        raise DecodeError(f"{path}: no such video file; correct the name, or the list or prefix")
    try:
        container = av.open(content.open())
    except (av.FFmpegError, OSError) as error:
        require_descriptors(error, path)
        raise DecodeError(f"{path}: cannot be opened as a video ({say(error)})") from None
    streams = moving_streams(container)
    if not streams:
        container.close()
        raise DecodeError(f"{path}: holds no video stream (audio only?)")
    # Loader workers are the parallelism: a pool of threads per open file would fight them. One
    # thread also makes skip_frame take effect packet by packet.
    streams[0].thread_type = "NONE"
    streams[0].codec_context.thread_count = 1
    return container, streams[0]


def moving_streams(container):
    """The video streams of a PyAV container that are not the cover of a piece of music."""
    return [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]


def index_frames(path, container, stream):
    """Read the packets of a whole stream.

    Packets that the edit list discards, that are hidden (VP8 and VP9 reference frames) or that
    precede the first key frame do not count as frames.

    Args:
        path: the file, for errors.
        container, stream: as :func:`open_container` gives them, at their beginning.

    Returns:
        :class:`FrameIndex`.

    Raises:
        DecodeError: if the file is truncated, damaged, holds no frame, or does not say when its
            frames are shown.
    """
    is_hidden = _HIDDEN.get(stream.codec_context.name, lambda packet: False)
    first, last, is_reordered, shown, keys = None, None, False, {}, []
    # Until the first key frame a decoder has nothing to build on and shows nothing.
    # (Streams without a single one do exist: all their frames count.)
    before_key = {}
    try:
        for packet in container.demux(stream):
            if not packet.size:
                continue  # the demuxer's last packet, which flushes the decoder
            if packet.is_corrupt:
                raise DecodeError(f"{path}: is truncated or damaged; re-encode it")
            pts = packet_pts(packet)
            first = pts if first is None else first
            if pts is None:
                continue
            is_reordered |= last is not None and pts < last
            last = pts
            if packet.is_keyframe:
                keys.append(pts)
            if not (packet.is_discard or is_hidden(packet)):
                (shown if keys else before_key)[pts] = packet.duration
    except av.FFmpegError as error:
        raise DecodeError(f"{path}: is damaged ({say(error)})") from None
    context = stream.codec_context
    is_avi = container.format.name == "avi"
    if is_avi and context.name in _GUESSED and context.has_b_frames and not is_reordered:
        raise DecodeError(
            f"{path}: is {context.name} with B-frames in AVI, which cannot say in what order they "
            "are shown; re-encode it as mp4"
        )
    shown = shown if keys else before_key
    if not shown:
        raise DecodeError(f"{path}: holds no video frame (empty or truncated file)")
    pts = sorted(shown)
    size = (context.height, context.width) if context.height and context.width else None
    return FrameIndex(pts, sorted(keys), first, shown[pts[-1]] or 0, stream.time_base, size)


def packet_pts(packet):
    """Presentation time of a packet, in units of its stream's time base, or None."""
    # Old AVI files have decoding times only; their frames are not reordered.
    return packet.dts if packet.pts is None else packet.pts


def say(error):
    """What an error of FFmpeg or the system says, in a few words."""
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


# AVI has no presentation times. For MPEG-4 part 2 and older codecs libavformat works them out, for
# these it gives decoding times.
_GUESSED = ("h264", "hevc")
_HIDDEN = {"vp8": _vp8_is_hidden, "vp9": _vp9_is_hidden}
