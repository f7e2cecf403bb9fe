"""Which region of a training clip is seen: drawn and cut out by the loader, scaled on the device.

The loader decodes straight to the drawn scale, for next to nothing, and cuts the region out
without computing a pixel; so little travels. Resampling and mirroring come later, in batches.
"""

import math
from dataclasses import dataclass

import torch
from torchvision.transforms.v2 import functional as F

from mutualvideo.errors import InputError

_TRIES = 10


class GeometrySampler:
    """Draws the scale, place and mirroring of training clips, as ``DATA`` of the config says.

    With TRAIN_JITTER_SCALES: the short side gets a random length, uniform over the integers
    of the range, ends included (with INV_UNIFORM_SAMPLE one over it is uniform, as in
    PySlowFast), TRAIN_CROP_PADDING pixels are added on every side, and a random square of
    TRAIN_CROP_SIZE is cut out. With
    TRAIN_JITTER_SCALES_RELATIVE and TRAIN_JITTER_ASPECT_RELATIVE: Inception's crop (Szegedy
    et al., "Going deeper with convolutions"), by the rule of torchvision's
    ``RandomResizedCrop``: ten tries, then the largest centred region of an allowed shape.

    Args:
        data: section ``DATA`` of the configuration.
        mirrored: whether the data set allows mirroring, which DATA.RANDOM_FLIP asks for.

    Raises:
        InputError: for ranges that are impossible, naming the key.
    """

    def __init__(self, data, mirrored=True):
        self._crop_size, self._flip = data.TRAIN_CROP_SIZE, data.RANDOM_FLIP and mirrored
        self._areas = list(data.TRAIN_JITTER_SCALES_RELATIVE)
        self._aspects = list(data.TRAIN_JITTER_ASPECT_RELATIVE)
        self._scales, self._inverse = list(data.TRAIN_JITTER_SCALES), data.INV_UNIFORM_SAMPLE
        self._padding = data.TRAIN_CROP_PADDING
        if self._crop_size < 1:
            raise InputError(f"DATA.TRAIN_CROP_SIZE must be at least 1, not {self._crop_size}")
        if self._areas or self._aspects:
            self._require_relative()
        else:
            self._require_scales()

    def _require_relative(self):
        if self._padding:
            raise InputError(
                f"DATA.TRAIN_CROP_PADDING {self._padding} goes with DATA.TRAIN_JITTER_SCALES, not "
                "with DATA.TRAIN_JITTER_SCALES_RELATIVE: set it to 0"
            )
        if not (self._areas and self._aspects):
            raise InputError(
                "DATA.TRAIN_JITTER_SCALES_RELATIVE and DATA.TRAIN_JITTER_ASPECT_RELATIVE belong "
                f"together, not {self._areas} and {self._aspects}: set both or none"
            )
        if not _is_range(self._areas) or self._areas[1] > 1:
            raise InputError(
                "DATA.TRAIN_JITTER_SCALES_RELATIVE must be two shares of the area between 0 and "
                f"1, smallest first, not {self._areas}"
            )
        if not _is_range(self._aspects):
            raise InputError(
                "DATA.TRAIN_JITTER_ASPECT_RELATIVE must be two positive ratios of width to "
                f"height, smallest first, not {self._aspects}"
            )

    def _require_scales(self):
        if not _is_range(self._scales) or self._scales[0] < 1:
            raise InputError(
                f"DATA.TRAIN_JITTER_SCALES must be two sizes, smallest first, not {self._scales}"
            )
        if self._crop_size > self._scales[0]:
            raise InputError(
                f"DATA.TRAIN_CROP_SIZE {self._crop_size} is larger than the smallest of "
                f"DATA.TRAIN_JITTER_SCALES {self._scales}"
            )
        if not 0 <= self._padding < self._scales[0]:
            raise InputError(
                f"DATA.TRAIN_CROP_PADDING {self._padding}: expected 0 or more, and less than the "
                f"picture has pixels to reflect, {self._scales[0]}"
            )

    def draw(self, generator):
        """One :class:`JitterGeometry` or :class:`RelativeGeometry`; the clip need not be known.

        Args:
            generator: ``torch.Generator`` on the CPU; every random choice comes from it.
        """
        if not self._areas:
            low, high = self._scales
            if self._inverse:
                (share,) = _uniform(generator, 1)
                short = round(1 / (share / low + (1 - share) / high))
            else:
                short = int(torch.randint(low, high + 1, (1,), generator=generator))
            top, left, mirror = _uniform(generator, 3)
            return JitterGeometry(
                self._flip and mirror < 0.5, self._crop_size, short, top, left, self._padding
            )
        top, left, mirror, *tries = _uniform(generator, 3 + 2 * _TRIES)
        (small, large), (narrow, wide) = self._areas, map(math.log, self._aspects)
        shapes = tuple(
            (small + area * (large - small), math.exp(narrow + aspect * (wide - narrow)))
            for area, aspect in zip(tries[::2], tries[1::2], strict=True)
        )
        return RelativeGeometry(
            self._flip and mirror < 0.5, self._crop_size, shapes, tuple(self._aspects), top, left
        )


class Geometries:
    """A :class:`GeometrySampler` for every size of square that is asked for.

    Where squares are smaller than TRAIN_CROP_SIZE, TRAIN_JITTER_SCALES begins at as much less and
    ends where it does, as in PySlowFast's multigrid training: some see as much of the picture as
    large ones do, at a lower resolution, some only a part of it.

    Args:
        data, mirrored: as :class:`GeometrySampler` takes them.
    """

    def __init__(self, data, mirrored=True):
        self._data, self._mirrored = data, mirrored
        self._found = {data.TRAIN_CROP_SIZE: GeometrySampler(data, mirrored)}

    def of(self, size):
        """The one for squares of ``size`` pixels."""
        if size not in self._found:
            data = self._data.clone()
            low, high = data.TRAIN_JITTER_SCALES
            least = max(size, round(low * size / data.TRAIN_CROP_SIZE))
            data.TRAIN_JITTER_SCALES, data.TRAIN_CROP_SIZE = [least, max(least, high)], size
            self._found[size] = GeometrySampler(data, self._mirrored)
        return self._found[size]


@dataclass(frozen=True)
class JitterGeometry:
    """A square of a clip whose short side got a random length.

    Attributes:
        mirror: whether left and right change places.
        crop_size: side of the square in pixels, where the short side has its length.
        length: of the short side, in pixels.
        top, left: place among the possible ones, from 0 to less than 1.
        padding: pixels, reflected ones, that a decoded clip gets on every side.
    """

    mirror: bool
    crop_size: int
    length: int
    top: float
    left: float
    padding: int = 0

    def short_side(self, source=None):
        """Short side to decode to, in pixels; the size of the video does not matter."""
        return self.length

    def region(self, height, width, source=None):
        """The region of a decoded and padded clip: (top, left, height, width) in its pixels.

        A clip that was smaller than the length, and therefore was not scaled when it was
        decoded, gives a square of the same share, which is enlarged on the device.
        """
        short = min(height, width) - 2 * self.padding
        side = max(1, round(self.crop_size * short / self.length))
        return _place(self.top, height - side), _place(self.left, width - side), side, side


@dataclass(frozen=True)
class RelativeGeometry:
    """A rectangle with a random share of the picture and a random shape.

    Attributes:
        mirror: whether left and right change places.
        crop_size: side of the square that the rectangle becomes, in pixels.
        shapes: tries of (share of the area, ratio of width to height); the first that fits
            into the picture counts.
        aspects: smallest and largest ratio, for pictures that none fits into.
        top, left: place among the possible ones, from 0 to less than 1.
    """

    mirror: bool
    crop_size: int
    shapes: tuple
    aspects: tuple
    top: float
    left: float
    padding = 0

    def short_side(self, source=None):
        """Short side to decode to, at which the region's smaller side has ``crop_size`` pixels.

        Args:
            source: (height, width) of the video, upright, in pixels. Where it is not known the
                answer is ``None``, the video's own size: slower, and the device scales more.
        """
        if source is None:
            return None
        *_, height, width = self._within(*source)
        return math.ceil(self.crop_size * min(source) / min(height, width))

    def region(self, height, width, source=None):
        """The region of a decoded clip: (top, left, height, width) in its pixels.

        Args:
            height, width: of the clip.
            source: what :meth:`short_side` was given. The same region of the video is meant,
                though its ratio of width to height was rounded when it was decoded.
        """
        rows, columns = source or (height, width)
        top, left, tall, wide = self._within(rows, columns)
        top, bottom = (round(edge * height / rows) for edge in (top, top + tall))
        left, right = (round(edge * width / columns) for edge in (left, left + wide))
        return top, left, max(1, bottom - top), max(1, right - left)

    def _within(self, height, width):
        for share, aspect in self.shapes:
            area = share * height * width
            size = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
            if 0 < size[0] <= height and 0 < size[1] <= width:
                return _place(self.top, height - size[0]), _place(self.left, width - size[1]), *size
        # No more than one of these cuts anything off.
        size = (
            min(height, max(1, round(width / self.aspects[0]))),
            min(width, max(1, round(height * self.aspects[1]))),
        )
        return (height - size[0]) // 2, (width - size[1]) // 2, *size


def stack_regions(regions):
    """Cut-out regions of different sizes as one batch, copied once.

    Args:
        regions: list of uint8 tensors (T, h, w, 3), or (h, w, 3) for images; views will do.

    Returns:
        Two tensors: uint8 (B, 3, T, H, W) or (B, 3, H, W) with the channels last in memory, H
        and W the largest, zeros at the bottom and the right of smaller ones; and the heights
        and widths that are valid, int64 (B, 2).
    """
    size = torch.tensor([region.shape[-3:-1] for region in regions])
    height, width = size.amax(0).tolist()
    shape = (len(regions), *regions[0].shape[:-3], height, width, 3)
    make = torch.empty if bool((size == size[0]).all()) else torch.zeros
    batch = make(shape, dtype=torch.uint8)
    for row, region in zip(batch, regions, strict=True):
        row[..., : region.shape[-3], : region.shape[-2], :] = region
    return batch.movedim(-1, 1), size


def resample_regions(clip, size, crop_size, mirror):
    """Regions of any size to squares, mirrored where asked.

    A region that already is such a square keeps its pixels; others are resized by
    torchvision's anti-aliased bilinear filter.

    Args:
        clip: uint8 (B, 3, T, H, W) or (B, 3, H, W), as :func:`stack_regions` gives it, on any
            device.
        size: int64 (B, 2), valid height and width of each, on the CPU.
        crop_size: side of the squares, in pixels.
        mirror: bool (B,), on the CPU.

    Returns:
        uint8 (B, 3, T, crop_size, crop_size) or (B, 3, crop_size, crop_size), a new tensor on
        the device of ``clip``, channels last in memory.
    """
    layout = torch.channels_last_3d if clip.dim() == 5 else torch.channels_last
    shape = (*clip.shape[:-2], crop_size, crop_size)
    if shape == clip.shape and bool((size == crop_size).all()):
        squares = clip.clone(memory_format=layout)
        # In the order of memory, where flipping is a tenth of the work.
        rows, originals = squares.movedim(1, -1), clip.movedim(1, -1)
        mirrored = mirror.nonzero().flatten()
        if clip.is_cuda:  # a launch for each clip would take longer than the copies
            mirrored = mirrored.to(clip.device, non_blocking=True)
            rows.index_copy_(0, mirrored, originals.index_select(0, mirrored).flip(-2))
            return squares
        for number in mirrored.tolist():
            rows[number] = originals[number].flip(-2)
        return squares
    squares = torch.empty(shape, dtype=clip.dtype, device=clip.device, memory_format=layout)
    # One sample at a time: no two have the same scale, and plain copies are as fast this way.
    for square, region, (height, width), flip in zip(
        squares, clip, size.tolist(), mirror.tolist(), strict=True
    ):
        frames = as_frames(region[..., :height, :width])
        if (height, width) != (crop_size, crop_size):
            frames = F.resize(frames, [crop_size, crop_size], antialias=True)
        as_frames(square).copy_(frames.flip(-1) if flip else frames)
    return squares


def as_frames(sample):
    """A clip (C, T, H, W) as torchvision takes it, (T, C, H, W); an image (C, H, W) as it is."""
    return sample.transpose(0, 1) if sample.dim() == 4 else sample


def _is_range(values):
    return len(values) == 2 and 0 < values[0] <= values[1]


def _uniform(generator, count):
    return torch.rand(count, generator=generator, dtype=torch.float64).tolist()


def _place(share, slack):
    return int(share * (slack + 1))
