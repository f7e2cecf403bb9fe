"""Frames through torchcodec, told where the frames are by PyAV's index of packets."""

import json

import numpy as np
from torchcodec.decoders import VideoDecoder
from torchcodec.transforms import Resize

from mutualvideo.media.packet_index import index_frames, open_container
from mutualvideo.media.reader import DecodeError, SortedReader, scaled_size
from mutualvideo.media.shards import Content


class TorchcodecReader(SortedReader):
    """Frames of the first video stream of a file, decoded with torchcodec on one CPU thread.

    The times are of PyAV's index of packets: it spares torchcodec a scan of its own, and knows
    about hidden frames and edit lists. Every frame that comes back is checked by its time.

    Raises:
        DecodeError: on opening, as :class:`Reader`; on reading, if torchcodec cannot decode the
            file or gives frames of other times.
    """

    def __init__(self, path):
        super().__init__(path)
        self._content = Content(self.path)
        container, stream = open_container(self._content)
        with container:
            index = index_frames(self.path, container, stream)
            self._stream = stream.index
        self._frames = _frame_mappings(index)
        self._decoder = self._decoder_size = self._size = None
        self.timestamps, self.fps, self.size = index.timestamps, index.fps, index.size

    def close(self):
        self._decoder = None
        self._content.release()

    def _decode(self, numbers, short_side):
        try:
            batch = self._sized(short_side).get_frames_at(numbers)
        except (RuntimeError, ValueError, IndexError) as error:
            self._decoder = None
            self._refuse(f"does not decode it ({_first_line(error)})")
        times = [self.timestamps[number] for number in numbers]
        if not np.allclose(batch.pts_seconds.numpy(), times, rtol=1e-9, atol=1e-6):
            self._refuse("gives frames of other times than were asked for")
        return batch.data.numpy()

    def _sized(self, short_side):
        """A decoder that scales while it decodes; kept until another size is wanted."""
        if self._size is None:
            self._decoder = self._open()
            shown = self._decoder.metadata  # after rotation
            self._size = self._decoder_size = shown.width, shown.height
        size = scaled_size(*self._size, short_side)
        if self._decoder is None or self._decoder_size != size:
            self._decoder = self._open([Resize(size[::-1])] if size != self._size else None)
            self._decoder_size = size
        return self._decoder

    def _open(self, transforms=None):
        return VideoDecoder(
            self._content.open(),
            stream_index=self._stream,
            dimension_order="NHWC",
            num_ffmpeg_threads=1,
            device="cpu",
            transforms=transforms,
            custom_frame_mappings=self._frames,
        )

    def _refuse(self, reason):
        raise DecodeError(
            f"{self.path}: torchcodec {reason}; set DATA.DECODING_BACKEND to pyav"
        ) from None


def _frame_mappings(index):
    """torchcodec's ``custom_frame_mappings``: JSON in the form of ffprobe."""
    keys = set(index.keys)
    ends = [*index.pts[1:], index.pts[-1] + (index.last_duration or 1)]
    frames = [
        {"pts": pts, "duration": end - pts, "key_frame": int(pts in keys)}
        for pts, end in zip(index.pts, ends, strict=True)
    ]
    return json.dumps({"frames": frames})


def _first_line(error):
    # "function, source file:line, what", or what alone.
    return str(error).partition("\n")[0].rpartition(", ")[2][:100] or type(error).__name__
