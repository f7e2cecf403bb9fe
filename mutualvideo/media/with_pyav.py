"""Frames through PyAV: the default, and the reference for the others.

A chroma sample serves its block of pixels unsmoothed, as in FFmpeg's fast conversion.
"""

import bisect
import itertools

import av

from mutualvideo.media.colour import ToRgb
from mutualvideo.media.packet_index import index_frames, open_container, packet_pts, say
from mutualvideo.media.reader import DecodeError, SortedReader
from mutualvideo.media.shards import Content

# Codecs whose decoders look at ``skip_frame`` packet by packet. That of AV1 (libdav1d) takes what
# it is when it is opened, for good.
_SKIPS = {"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "h263", "vp8", "vp9"}


class VideoReader(SortedReader):
    """Frames of the first video stream of a file, decoded with PyAV.

    Opening reads the packets of the whole file and decodes none. Reading decodes from the key
    frame before each group of wanted frames and converts the wanted ones only.
    """

    def __init__(self, path):
        super().__init__(path)
        self._container, self._content = None, Content(self.path)
        try:
            self._open()
            self._index = index_frames(self.path, self._container, self._stream)
        except BaseException:
            self.close()
            raise
        self.timestamps, self.fps = self._index.timestamps, self._index.fps
        self.size = self._index.size

    def close(self):
        if self._container is not None:
            self._container.close()
            self._container = None
        self._content.release()

    def _open(self):
        self.close()
        self._container, self._stream = open_container(self._content)

    def _decode(self, numbers, short_side):
        return self._converted(numbers, ToRgb(short_side))

    def _decode_once(self, numbers, short_side):
        # Frames as they left the decoder: half the bytes of RGB, and they serve every size.
        if not self._kept:
            self._keep_frames(numbers)
        elif not self._kept.keys() >= set(numbers):
            # Other frames than before: clips start anywhere, and sooner or later need all of them.
            try:
                self._keep_frames(range(len(self)))
            except DecodeError:  # perhaps of a frame that nobody asks for
                self._keep_frames(numbers)
        to_rgb = ToRgb(short_side)
        return [to_rgb(self._kept[number]) for number in numbers]

    def _keep_frames(self, numbers):
        missing = [number for number in numbers if number not in self._kept]
        found = self._converted(missing, _as_it_is) if missing else []
        self._count(sum(plane.buffer_size for frame in found for plane in frame.planes))
        self._kept.update(zip(missing, found, strict=True))

    def _converted(self, numbers, convert):
        """What ``convert`` makes of the decoded frames ``numbers``, in their order."""
        frames = {}
        for run in self._runs([self._index.pts[number] for number in numbers]):
            for packets in self._ways_to(run[0]):
                found, reason = self._collect(packets, run, convert)
                if len(found) == len(run):
                    break
            else:
                missing = self._index.pts.index(next(pts for pts in run if pts not in found))
                raise DecodeError(
                    f"{self.path}: frame {missing} of {len(self)} does not decode ({reason}); "
                    "the file is damaged: re-encode it or take it off the list"
                )
            frames.update(found)
        return [frames[self._index.pts[number]] for number in numbers]

    def _runs(self, wanted):
        """Split where whole groups of pictures lie between two wanted frames."""
        groups = [bisect.bisect_right(self._index.keys, pts) for pts in wanted]
        cuts = [n for n in range(1, len(wanted)) if groups[n] > groups[n - 1] + 1]
        return [wanted[a:b] for a, b in zip([0, *cuts], [*cuts, len(wanted)], strict=True)]

    def _ways_to(self, pts):
        """Packets from the key frame before ``pts`` on; should that fail, from the start.

        The second way is for files whose index lies about key frames: the frames that come
        out are the right ones either way.
        """
        number = bisect.bisect_right(self._index.keys, pts) - 1
        if number > 0:
            packets = self._seek(self._index.keys[number])
            first = next(packets, None)
            if first is not None and first.is_keyframe and first.pts is not None:
                if first.pts <= pts:
                    yield itertools.chain([first], packets)
        packets = self._seek(self._index.pts[0])
        first = next(packets, None)
        if first is None or packet_pts(first) != self._index.first:
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

    def _collect(self, packets, wanted, convert):
        """As many of the ``wanted`` frames as come out, and why the rest does not."""
        remaining, frames = set(wanted), {}
        context = self._stream.codec_context
        can_skip = context.codec.canonical_name in _SKIPS
        try:
            for packet in packets:
                if can_skip:
                    # No frame refers to a NONREF frame: skipping those leaves the rest exact.
                    skip = bool(packet.size) and packet_pts(packet) not in remaining
                    context.skip_frame = "NONREF" if skip else "DEFAULT"
                for frame in packet.decode():
                    if frame.pts not in remaining:
                        continue
                    frames[frame.pts] = convert(frame)
                    remaining.discard(frame.pts)
                    if not remaining:
                        return frames, None
        except (av.FFmpegError, OSError) as error:
            return frames, say(error)
        return frames, "the decoder shows no such frame"


def _as_it_is(frame):
    return frame
