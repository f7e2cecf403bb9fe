"""The contract of everything that frames are read from."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from mutualvideo.errors import InputError

Self = TypeVar("Self", bound="Reader")


class DecodeError(InputError):
    """A video is missing, holds no video or does not decode; names the file."""


# Pixels, None (no limit), or what they are for a frame of (height, width) as it is shown.
ShortSide = int | None | Callable[[int, int], int | None]


def require_descriptors(error: BaseException, path: object) -> None:
    """Raises ``InputError`` if ``error``, of opening ``path``, is no fault of the file.

    Not a ``DecodeError``: another video in its place would not open either.
    """
    if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
        raise InputError(
            f"{path}: cannot be opened, too many files are open: raise the limit (ulimit -n 65536) "
            "or lower DATA_LOADER.NUM_WORKERS"
        ) from error


@runtime_checkable
class Reader(Protocol):
    """Frames of one video, by number in order of presentation. A context manager.

    Frames are found by presentation time, so variable frame rates, wrong counts in the header,
    edit lists and a start other than 0 are all the same.

    Attributes:
        path: the video.
        timestamps: presentation time of every frame, in seconds, increasing.
        fps: average frame rate; of a single frame, one over its duration (30 if unknown).
        size: (height, width) as stored, before rotation, in pixels; ``None``: known when a frame
            was decoded (a stream may say so itself, or say 0 x 0).
    """

    path: str
    timestamps: Sequence[float]
    fps: float
    size: tuple[int, int] | None

    def __enter__(self: Self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def __len__(self) -> int: ...

    def close(self) -> None:
        """Close the video. May be called twice; reading afterwards opens it again."""

    def read(self, indices: Iterable[int], short_side: ShortSide = None) -> np.ndarray:
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
        ...


class SortedReader(Reader):
    """A :class:`Reader` whose frames are decoded once each, in their order.

    A subclass sets the attributes when it opens the video and defines ``_decode``.

    Raises:
        DecodeError: on opening, if the video is missing, not a video, truncated, or has no video
            stream or no frame.
    """

    # What was decoded, where :meth:`keep` asked for it, and how large frames are shown.
    _kept: dict | None = None
    _shown: dict[int, tuple[int, int]]

    def __init__(self, path: object) -> None:
        self.path = str(path)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.timestamps)

    def close(self) -> None:
        pass

    def keep(self, count: Callable[[int], None]) -> None:
        """From now on keep in memory what is decoded, so that it is not decoded again.

        Frames are the same with it and without. Closing the video forgets nothing.

        Args:
            count: called with the number of bytes of whatever is kept; may raise.
        """
        self._kept, self._shown, self._count = {}, {}, count

    def read(self, indices: Iterable[int], short_side: ShortSide = None) -> np.ndarray:
        numbers = [int(index) for index in indices]
        if not numbers or min(numbers) < 0 or max(numbers) >= len(self):
            raise IndexError(f"{self.path} has {len(self)} frames, asked for {numbers}")
        wanted = sorted(set(numbers))
        decode = self._decode if self._kept is None else self._decode_once
        frames = dict(zip(wanted, decode(wanted, short_side), strict=True))
        return np.stack([frames[number] for number in numbers])

    def _decode(self, numbers: list[int], short_side: ShortSide) -> Sequence[np.ndarray]:
        """The uint8 (H, W, 3) frames of the sorted, distinct ``numbers``, in their order."""
        raise NotImplementedError

    def _decode_once(self, numbers: list[int], short_side: ShortSide) -> Sequence[np.ndarray]:
        """The same, kept: it serves again where the same frames are asked for at the same size."""
        assert self._kept is not None
        first = numbers[0]
        if callable(short_side) and first in self._shown:
            short_side = short_side(*self._shown[first])
        key = (short_side, *numbers)
        if key in self._kept:
            return self._kept[key]
        frames = self._decode(numbers, self._noting(first, short_side))
        if callable(short_side):
            key = (short_side(*self._shown[first]), *numbers)
        self._count(sum(frame.nbytes for frame in frames))
        self._kept[key] = frames
        return frames

    def _noting(self, first: int, short_side: ShortSide) -> ShortSide:
        """``short_side``; if it is a function, one that notes how large frame ``first`` is."""
        if not callable(short_side):
            return short_side
        choose = short_side

        def noting(height: int, width: int) -> int | None:
            self._shown.setdefault(first, (height, width))
            return choose(height, width)

        return noting


def scaled_size(width: int, height: int, short_side: ShortSide, turns: int = 0) -> tuple[int, int]:
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
    wide, high = (
        short_side if side == short else round(side * short_side / short)
        for side in (width, height)
    )
    return wide, high
