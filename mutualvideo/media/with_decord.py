"""Frames through decord, where it finds the right ones.

decord 0.6 (FFmpeg 4.1, no longer maintained) counts frames from the key frame on which it
believes to have landed. Nothing tells when it was another one: tried on real files, frames came
out shifted, or repeated, without an error. So a file is refused unless decord's own list of
frames and key frames is the right one, and its container finds key frames by an index.
"""

import re

import av
import decord
import numpy as np

from mutualvideo.media.packet_index import index_frames, moving_streams, open_container, say
from mutualvideo.media.reader import DecodeError, SortedReader, scaled_size
from mutualvideo.media.shards import Content

decord.logging.set_level(decord.logging.QUIET)

_CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi")
# Of the frames that did not decode and that decord would replace by their neighbours: none.
_FAULT_TOLERANCE = 1e-9


class DecordReader(SortedReader):
    """Frames of the video stream of a file, decoded with decord.

    The times are of PyAV's index of packets.

    Raises:
        DecodeError: on opening, as :class:`Reader` and for containers and streams that decord
            does not find its way in; on reading, if decord cannot decode the file or numbers its
            frames wrongly, as with open groups of pictures, edit lists and hidden VP9 frames.
    """

    def __init__(self, path):
        super().__init__(path)
        self._content = Content(self.path)
        container, stream = open_container(self._content)
        with container:
            if container.format.name not in _CONTAINERS:
                self._refuse(f"does not seek exactly in {container.format.name}")
            if len(moving_streams(container)) > 1:
                self._refuse("does not let the video stream be chosen")
            self._index = index_frames(self.path, container, stream)
            self._size = self._shown_size(container, stream)
        self._decoder = self._decoder_size = None
        self.timestamps, self.fps = self._index.timestamps, self._index.fps
        self.size = self._index.size

    def close(self):
        self._decoder = None
        self._content.release()

    def _shown_size(self, container, stream):
        """(width, height) after rotation, which decord does not tell before it decodes."""
        try:
            container.seek(self._index.pts[0], stream=stream)
            frame = next(container.decode(stream))
        except (av.FFmpegError, StopIteration) as error:
            self._refuse(f"is given a file whose first frame does not decode ({say(error)})")
        size = frame.width, frame.height
        return size[::-1] if round(frame.rotation / 90) % 2 else size

    def _decode(self, numbers, short_side):
        size = scaled_size(*self._size, short_side)
        try:
            if self._decoder is None or self._decoder_size != size:
                source = self._content.open()
                self._decoder = decord.VideoReader(
                    source, decord.cpu(), *size, num_threads=1, fault_tol=_FAULT_TOLERANCE
                )
                self._decoder_size = size
                self._compare()
            return self._decoder.get_batch(numbers).asnumpy()
        except _ERRORS as error:
            self._decoder = None
            self._refuse(f"does not decode it ({_first_line(error)})")

    def _compare(self):
        index = self._index
        if len(self._decoder) != len(index.pts):
            self._refuse(f"counts {len(self._decoder)} frames, there are {len(index.pts)}")
        ours = np.array(self.timestamps)
        theirs = self._decoder.get_frame_timestamp(list(range(len(ours))))[:, 0]
        # decord's times begin at 0 and are float32.
        if not np.allclose(ours - ours[0], theirs - theirs[0], rtol=1e-6, atol=1e-3):
            self._refuse("gives its frames other times")
        keys = set(index.keys)
        if [n for n, pts in enumerate(index.pts) if pts in keys] != self._decoder.get_key_indices():
            self._refuse("mistakes its key frames")

    def _refuse(self, reason):
        raise DecodeError(
            f"{self.path}: decord {reason}; set DATA.DECODING_BACKEND to pyav"
        ) from None


_ERRORS = (
    decord.DECORDError,
    decord.DECORDLimitReachedError,
    AssertionError,
    RuntimeError,
    StopIteration,
)


def _first_line(error):
    # "[time] source file:line: what", several times, and a stack trace below.
    line = str(error).partition("\n")[0].rpartition("] ")[2]
    return re.sub(r"^\S+:\d+: ", "", line)[:100] or type(error).__name__
