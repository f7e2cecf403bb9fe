"""The contract of everything that frames are read from."""

import errno

import numpy as np

from mutualvideo.errors import InputError


class DecodeError(InputError):
    """A video is missing, holds no video or does not decode; names the file."""


def require_descriptors(error, path):
    """Raises ``InputError`` if ``error``, of opening ``path``, is no fault of the file.

    Not a ``DecodeError``: another video in its place would not open either.
    """
    if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
        raise InputError(
            f"{path}: cannot be opened, too many files are open: raise the limit (ulimit -n 65536) "
            "or lower DATA_LOADER.NUM_WORKERS"
        ) from error


class Reader:
    """Frames of one video, by number in order of presentation. A context manager.

    Frames are found by presentation time, so variable frame rates, wrong counts in the header,
    edit lists and a start other than 0 are all the same. A subclass sets the attributes when it
    opens the video and defines ``_decode``.

    Attributes:
        path: the video, a str.
        timestamps: presentation time of every frame, a list of seconds, increasing.
        fps: average frame rate; of a single frame, one over its duration (30 if unknown).
        size: (height, width) as stored, before rotation, in pixels; ``None``: known when a frame
            was decoded (a stream may say so itself, or say 0 x 0).

    Raises:
        DecodeError: on opening, if the video is missing, not a video, truncated, or has no video
            stream or no frame.
    """

    def __init__(self, path):
        self.path = str(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __len__(self):
        return len(self.timestamps)

    def close(self):
        """Close the video. May be called twice; reading afterwards opens it again."""

    def read(self, indices, short_side=None):
        """Decode frames.

        Args:
            indices: frame numbers from 0, in any order, repetitions allowed.
            short_side: scale the frames so that their short side has this many pixels, while
                they are converted to RGB. Only ever downwards: a smaller video stays as it is.
                Or a function of (height, width) of the earliest frame as it is shown, after
                rotation, that returns this number.

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
        numbers = sorted(set(indices))
        frames = dict(zip(numbers, self._decode(numbers, short_side), strict=True))
        return np.stack([frames[index] for index in indices])

    def _decode(self, numbers, short_side):
        """The uint8 (H, W, 3) frames of the sorted, distinct ``numbers``, in their order."""
        raise NotImplementedError


def scaled_size(width, height, short_side, turns=0):
    """(width, height) with a short side of at most ``short_side`` pixels.

    Args:
        width, height: as stored, in pixels.
        short_side: pixels; ``None``: no limit; or a function, see :meth:`Reader.read`.
        turns: quarter turns until the picture is upright.
    """
    if callable(short_side):
        short_side = short_side(*((width, height) if turns % 2 else (height, width)))
    short = min(width, height)
    if short_side is None or short_side >= short:
        return width, height
    return tuple(
        short_side if side == short else round(side * short_side / short)
        for side in (width, height)
    )
