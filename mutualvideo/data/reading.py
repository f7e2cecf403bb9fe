"""One door to the frames of a video, whatever it is stored as."""

from mutualvideo.data.decode import open_video
from mutualvideo.data.frames import FrameReader


def open_source(video, backend="pyav"):
    """A reader of the frames of a video: a file or a folder of pictures.

    Args:
        video: :class:`mutualvideo.data.annotations.Video`.
        backend: who decodes files (``DATA.DECODING_BACKEND``).

    Returns:
        What :func:`mutualvideo.data.decode.open_video` returns, or a
        :class:`mutualvideo.data.frames.FrameReader`, which is used alike.

    Raises:
        DecodeError: if it is missing, empty or damaged.
    """
    if video.fps is None:
        return open_video(video.path, backend)
    return FrameReader(video.path, video.fps, video.frames.split("\n") if video.frames else None)
