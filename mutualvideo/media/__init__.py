"""The frames that are asked for, out of a video file: one contract, several decoders.

Imported only where a backend is asked for: decord and torchcodec need not be installed.
"""

import importlib

from mutualvideo.errors import InputError
from mutualvideo.media.reader import DecodeError, Reader
from mutualvideo.media.with_pyav import VideoReader

__all__ = ["BACKENDS", "DecodeError", "Reader", "VideoReader", "open_video", "reader_class"]

# Name in DATA.DECODING_BACKEND: the class, and what to do where it cannot be imported.
BACKENDS = {
    "pyav": ("VideoReader", "pip install 'av>=17.0.1'"),
    "decord": ("DecordReader", "pip install decord (Linux x86-64), or use pyav"),
    "torchcodec": (
        "TorchcodecReader",
        "pip install 'torchcodec>=0.11' in the version that belongs to this torch, and FFmpeg's "
        "shared libraries; or use pyav",
    ),
}


def open_video(path, backend="pyav"):
    """Open a video; every way to frames starts here.

    Args:
        path: the file.
        backend: ``DATA.DECODING_BACKEND``, one of ``BACKENDS``. All give the same frames (within
            2 grey levels on average) at the same times, or raise.

    Returns:
        A :class:`Reader`.

    Raises:
        InputError: if the backend is unknown or cannot be imported.
        DecodeError: if the file cannot be read, or cannot be read right by this backend.
    """
    return reader_class(backend)(path)


def reader_class(backend):
    """The :class:`Reader` of a backend.

    Raises:
        InputError: if the backend is unknown or cannot be imported.
    """
    if backend not in BACKENDS:
        raise InputError(
            f"DATA.DECODING_BACKEND {backend!r} is unknown; choose from: {', '.join(BACKENDS)}"
        )
    name, remedy = BACKENDS[backend]
    try:
        module = importlib.import_module(f"{__name__}.with_{backend}")
    # torchcodec raises RuntimeError where FFmpeg's libraries are missing.
    except (ImportError, OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"DATA.DECODING_BACKEND {backend} cannot be loaded ({reason}): {remedy}"
        ) from None
    return getattr(module, name)
