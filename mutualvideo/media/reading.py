"""One door to the frames of a video, whatever it is stored as."""

from mutualvideo.media import open_video
from mutualvideo.media.picture_reader import FrameReader


def open_reader(video, backend="pyav"):
    """A reader of the frames of a video: a file or a folder of pictures.

    Args:
        video: :class:`mutualvideo.data.annotations.Video`.
        backend: who decodes files (``DATA.DECODING_BACKEND``).

    Returns:
        What :func:`mutualvideo.media.open_video` returns, or a
        :class:`mutualvideo.media.picture_reader.FrameReader`, which is used alike.

    Raises:
        DecodeError: if it is missing, empty or damaged.
    """
    if video.fps is None:
        return open_video(video.path, backend)
    return FrameReader(video.path, video.fps, video.frames.split("\n") if video.frames else None)
