"""Frames out of pictures: of a video that is a folder of them, and single ones."""

import os
import re
from contextlib import contextmanager

import numpy as np
from PIL import ExifTags, Image, ImageOps

from mutualvideo.errors import InputError
from mutualvideo.media.reader import DecodeError, SortedReader, require_descriptors, scaled_size
from mutualvideo.media_kind import PICTURE_ENDINGS, is_of_kind

# EXIF orientations that exchange height and width.
_TURNED = (5, 6, 7, 8)
# A JPEG is decoded at a half, a quarter or an eighth if that leaves at least this much more than
# is wanted: from two on the result is hardly to be told from that of all pixels.
_REDUCING_GAP = 2
_OF_A_VIDEO = "extract it again or take its video off the list"
_ALONE = "replace it or take it off the list"


class FrameReader(SortedReader):
    """A video that is a folder of pictures. Nothing stays open.

    Args:
        path: the folder.
        fps: frame rate of the pictures; the folder does not say it.
        names: the pictures, in order, relative to the folder; ``None``: every picture of
            the folder, in the order of the numbers in their names (``2.jpg`` before ``10.jpg``).

    Attributes:
        timestamps: time of every frame, a list of seconds from 0.
        size: ``None``: pictures are not opened before they are asked for.
        fps: as given.

    Raises:
        DecodeError: if the folder is missing or holds no picture, or pictures whose names
            differ in more than numbers (``img_1.jpg`` and ``flow_x_1.jpg``).
        InputError: if ``fps`` is not positive.
    """

    def __init__(self, path, fps, names=None):
        if not fps > 0:
            raise InputError(f"{path}: the frame rate of pictures must be positive, not {fps}")
        super().__init__(path)
        self.fps = float(fps)
        self._names = _list_pictures(self.path) if names is None else list(names)
        if not self._names:
            endings = ", ".join(sorted(PICTURE_ENDINGS))
            raise DecodeError(f"{self.path}: holds no picture ({endings})")
        self.size = None
        self.timestamps = [number / self.fps for number in range(len(self._names))]

    def _decode(self, numbers, short_side):
        frames, size = [], None
        for number in numbers:
            picture = _load(os.path.join(self.path, self._names[number]), short_side, _OF_A_VIDEO)
            if size is not None and picture.size != size:
                picture = picture.resize(size, Image.Resampling.BILINEAR)
            size = picture.size
            frames.append(np.asarray(picture))
        return frames


class PictureReader(SortedReader):
    """A picture by itself: one frame, in any format that Pillow reads.

    Args:
        path: the file.

    Attributes:
        size: (height, width) as stored, in pixels.

    Raises:
        DecodeError: if the file is missing or no picture.
    """

    timestamps = (0.0,)
    fps = 30.0

    def __init__(self, path):
        super().__init__(path)
        with _errors_named(self.path, _ALONE):
            self._image = Image.open(self.path)
        self.size = self._image.size[::-1]

    def close(self):
        if self._image is not None:
            self._image.close()

    def _decode(self, numbers, short_side):
        with _errors_named(self.path, _ALONE):
            # Decoding at a part of the size changes the picture that was opened.
            image, self._image = self._image or Image.open(self.path), None
            with image:
                return [np.asarray(_rgb(image, short_side))]

    def read_crop(self, region, size):
        """A region scaled to a square: as torchvision's ``resized_crop`` of a PIL image.

        But for the outermost pixels, whose filter sees what lies beyond the region.
        Several times as fast as scaling the whole picture and cropping then.

        Args:
            region: function of (height, width) of the upright picture that returns (top, left,
                height, width) in its pixels.
            size: side of the square, in pixels.

        Returns:
            uint8 array (1, size, size, 3), RGB.

        Raises:
            DecodeError: if the picture does not decode.
        """
        with _errors_named(self.path, _ALONE):
            image, self._image = self._image or Image.open(self.path), None
            with image:
                return _crop(image, region, size)


class ArrayReader(SortedReader):
    """A picture that lies in memory: one frame.

    Args:
        name: what messages call it.
        pixels: uint8 array (H, W, 3), RGB.
    """

    timestamps = (0.0,)
    fps = 30.0

    def __init__(self, name, pixels):
        super().__init__(name)
        self._pixels = pixels
        self.size = pixels.shape[:2]

    def _decode(self, numbers, short_side):
        if scaled_size(*self.size[::-1], short_side) == self.size[::-1]:
            return [self._pixels]
        return [np.asarray(_rgb(Image.fromarray(self._pixels), short_side))]

    def read_crop(self, region, size):
        """As :meth:`PictureReader.read_crop`."""
        return _crop(Image.fromarray(self._pixels), region, size)


def _load(path, short_side, remedy):
    with _errors_named(path, remedy), Image.open(path) as image:
        return _rgb(image, short_side)


@contextmanager
def _errors_named(path, remedy):
    try:
        yield
    except FileNotFoundError:
        raise DecodeError(
            f"{path}: no such picture; correct the list or DATA.PATH_PREFIX"
        ) from None
    # Pillow says what is wrong with a picture in as many ways as it has formats.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        require_descriptors(error, path)
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DecodeError(f"{path}: does not decode ({reason}); {remedy}") from None


def _rgb(image, short_side):
    """An opened picture, upright, in RGB and scaled down as :meth:`Reader.read` says."""
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) in _TURNED
    scaled = scaled_size(*image.size, short_side, int(turned))
    drafted = image.draft(None, tuple(_REDUCING_GAP * side for side in scaled))
    # A reduced picture is rounded up to whole pixels: the box is what it shows.
    box = drafted[1] if drafted else None
    rgb = _to_rgb(image)
    if rgb.size != scaled:
        rgb = rgb.resize(scaled, Image.Resampling.BILINEAR, box)
    return ImageOps.exif_transpose(rgb)


def _to_rgb(image):
    """Pixels of 8 bits, of any picture whose range of values is known.

    Raises:
        ValueError: for others.
    """
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
        image = Image.fromarray(np.uint8((values + np.uint32(128)) // 257))
    elif image.mode in ("I", "F"):
        kind = "32-bit" if image.mode == "I" else "floating-point"
        raise ValueError(f"its pixels are {kind} numbers of an unknown range; store 8 or 16 bits")
    return image.convert("RGB")


def _crop(image, region, size):
    """What :meth:`PictureReader.read_crop` returns, of an opened picture."""
    wide, tall = image.size
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)
        wide, tall = image.size
    top, left, height, width = region(tall, wide)
    drafted = image.draft(
        None, tuple(_REDUCING_GAP * size * n // side for n, side in ((wide, width), (tall, height)))
    )
    # A reduced picture is rounded up to whole pixels: the box is what it shows.
    across, down = (drafted[1][2] / wide, drafted[1][3] / tall) if drafted else (1, 1)
    box = left * across, top * down, (left + width) * across, (top + height) * down
    square = _to_rgb(image).resize((size, size), Image.Resampling.BILINEAR, box)
    return np.array(square)[None]


def _list_pictures(folder):
    try:
        names = os.listdir(folder)
    except OSError as error:
        require_descriptors(error, folder)
        raise DecodeError(
            f"{folder}: no folder of pictures ({error.strerror}); correct the list or "
            "DATA.PATH_PREFIX"
        ) from None
    # A leading dot: macOS keeps its own notes about a picture in ._picture.jpg.
    names = [name for name in names if is_of_kind(name, PICTURE_ENDINGS)]
    kinds = {}
    for name in names:
        kinds.setdefault(re.sub("[0-9]+", "0", name.lower()), name)
    if len(kinds) > 1:
        examples = ", ".join(sorted(kinds.values())[:3])
        raise DecodeError(
            f"{folder}: holds pictures of several kinds ({examples}); leave one kind in it"
        )
    return sorted(names, key=_natural)


def _natural(name):
    # Texts and numbers take turns, so that like is compared with like.
    parts = re.split("([0-9]+)", name)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], name
