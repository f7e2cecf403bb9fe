"""Pictures of more than 8 bits, in every way that pictures are read."""

import numpy as np
import pytest
from PIL import Image, features

from mutualvideo.media import DecodeError
from mutualvideo.media.picture_reader import FrameReader, PictureReader

RAMP = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))
# How a ramp from black to white is stored, and the ending of the file.
STORED = {
    "8 bits": (RAMP, "png"),
    "16 bits, png": (RAMP.astype(np.uint16) * 257, "png"),
    "16 bits, tiff": (RAMP.astype(np.uint16) * 257, "tif"),
    "16 bits, big endian": (RAMP.astype(">u2") * 257, "tif"),
    "colours": (np.stack([RAMP] * 3, -1), "webp"),
    "colours, avif": (np.stack([RAMP] * 3, -1), "avif"),
    "palette": (RAMP, "gif"),
    "with transparency": (np.stack([RAMP] * 3 + [RAMP // 2 + 128], -1), "png"),
}
WAYS = ["read", "scaled", "crop", "frames"]


def read(path, way):
    if way == "frames":
        with FrameReader(path.parent, 30) as reader:
            return reader.read([0])[0]
    with PictureReader(path) as reader:
        if way == "crop":
            return reader.read_crop(lambda height, width: (0, 0, height, width), 64)[0]
        return reader.read([0], 32 if way == "scaled" else None)[0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", STORED)
def test_a_ramp_stays_a_ramp(tmp_path, name, way):
    pixels, ending = STORED[name]
    if ending in ("avif", "webp") and not features.check(ending):
        pytest.skip(f"this Pillow has no {ending}")
    path = tmp_path / f"1.{ending}"
    Image.fromarray(pixels).save(path)
    found = read(path, way).astype(float)
    wanted = RAMP[:: 2 if way == "scaled" else 1, :: 2 if way == "scaled" else 1]
    assert found.shape == (*wanted.shape, 3)
    assert np.abs(found - wanted[..., None]).mean() < 4


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "pixels, word",
    [(RAMP / np.float32(255), "floating-point"), (RAMP.astype(np.int32) * 1000, "32-bit")],
)
def test_pictures_of_an_unknown_range_are_refused(tmp_path, pixels, word, way):
    path = tmp_path / "1.tif"
    Image.fromarray(pixels).save(path)
    with pytest.raises(DecodeError, match=f"1.tif: does not decode .its pixels are {word} numbers"):
        read(path, way)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_short_side_may_depend_on_the_size_that_is_shown(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((40, 80, 3), np.uint8)).save(tmp_path / "1.jpg", exif=exif)
    seen = []
    with PictureReader(tmp_path / "1.jpg") as reader:
        shape = reader.read([0], lambda *size: seen.append(size) or 20).shape[1:3]
    upright = (40, 80) if orientation < 5 else (80, 40)
    assert seen == [upright] and shape == tuple(side // 2 for side in upright)
