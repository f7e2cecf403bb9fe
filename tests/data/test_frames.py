import os

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2 import functional as F

from mutualvideo.data.annotations import Video
from mutualvideo.errors import InputError
from mutualvideo.media import DecodeError
from mutualvideo.media.picture_reader import ArrayReader, FrameReader, PictureReader
from mutualvideo.media.reading import open_reader

from .videos import encode, moving_picture


def _save(folder, names, size=(64, 48), **options):
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(moving_picture(number, *size)).save(folder / name, **options)
    return folder


def _torchvision(path):
    return decode_image(str(path), ImageReadMode.RGB).permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    "names",
    [
        [f"img_{number:05d}.png" for number in range(1, 13)],
        [f"{number}.PNG" for number in range(1, 13)],
        [f"v1_frame{number}.png" for number in (8, 9, 10, 99, 100, 1000)],
    ],
)
def test_pictures_come_in_the_order_of_their_numbers(tmp_path, names):
    _save(tmp_path, names)
    (tmp_path / "._img_00001.png").write_bytes(b"a note of macOS")
    (tmp_path / "notes.txt").touch()
    with FrameReader(tmp_path, 12) as reader:
        assert len(reader) == len(names) and reader.fps == 12
        assert reader.timestamps == pytest.approx([n / 12 for n in range(len(names))])
        frames = reader.read(range(len(names)))
    assert frames.dtype == np.uint8
    expected = np.stack([moving_picture(number, 64, 48) for number in range(len(names))])
    np.testing.assert_array_equal(frames, expected)


def test_a_list_has_its_own_order(tmp_path):
    _save(tmp_path, ["a.png", "b.png", "flow.png"])
    reader = FrameReader(tmp_path, 30, ["b.png", "a.png"])
    expected = [moving_picture(number, 64, 48) for number in (0, 1, 0)]
    np.testing.assert_array_equal(reader.read([1, 0, 1]), expected)


def test_jpeg_pixels(tmp_path):
    _save(tmp_path, ["1.jpg", "2.jpg"])
    frames = FrameReader(tmp_path, 30).read([0, 1])
    expected = np.stack([_torchvision(tmp_path / name) for name in ("1.jpg", "2.jpg")])
    # Two builds of the same library: equal but for rounding.
    assert np.abs(frames.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("ending, limit", [("png", 0.1), ("jpg", 2.0)])
@pytest.mark.parametrize("size", [(640, 480), (480, 640), (333, 251), (256, 256)])
def test_short_side_scales_down(tmp_path, size, ending, limit):
    _save(tmp_path, [f"1.{ending}"], size)
    reader = FrameReader(tmp_path, 30)
    for short in (24, 100, 200):
        small = reader.read([0], short)[0]
        long = round(short * max(size) / min(size))
        assert small.shape == ((short, long, 3) if size[0] > size[1] else (long, short, 3))
        full = torch.from_numpy(_torchvision(tmp_path / f"1.{ending}")).permute(2, 0, 1)
        expected = F.resize(full, list(small.shape[:2]), antialias=True).permute(1, 2, 0)
        assert np.abs(small.astype(float) - expected.numpy()).mean() < limit
    for short in (min(size), 1000, None):
        assert reader.read([0], short).shape == (1, size[1], size[0], 3)


def test_all_take_the_size_of_the_earliest(tmp_path):
    _save(tmp_path, ["1.png"], (64, 48))
    _save(tmp_path, ["2.png"], (100, 30))
    reader = FrameReader(tmp_path, 30)
    assert reader.read([1, 0]).shape == (2, 48, 64, 3)
    assert reader.read([1, 1]).shape == (2, 30, 100, 3)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    ending = "jpg" if mode == "CMYK" else "png"
    Image.new("RGB", (20, 16), (204, 204, 204)).convert(mode).save(tmp_path / f"1.{ending}")
    frame = FrameReader(tmp_path, 30).read([0])[0]
    assert frame.shape == (16, 20, 3) and np.abs(frame.astype(int) - 204).max() <= 2


# Orientations of the Exif standard, and the quarter turns to the left that undo them.
@pytest.mark.parametrize("orientation, turns", [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_rotation_is_applied(tmp_path, orientation, turns):
    exif = Image.Exif()
    exif[0x0112] = orientation
    _save(tmp_path, ["1.jpg"], (256, 192), exif=exif)
    plain = tmp_path / "plain"
    _save(plain, ["1.jpg"], (256, 192))
    for short_side in (None, 48):
        upright = FrameReader(plain, 30).read([0], short_side)[0]
        turned = FrameReader(tmp_path, 30).read([0], short_side)[0]
        expected = np.rot90(upright, turns)
        assert turned.shape == expected.shape
        assert np.abs(turned.astype(float) - expected).mean() < 1


@pytest.mark.parametrize("ending, limit", [("png", 0), ("jpg", 1.5)])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("top, left, height, width", [(10, 20, 90, 120), (0, 0, 230, 200)])
def test_crops_are_torchvisions(tmp_path, ending, limit, orientation, top, left, height, width):
    exif = Image.Exif()
    exif[0x0112] = orientation
    _save(tmp_path, [f"1.{ending}"], (320, 240), exif=exif)
    path = tmp_path / f"1.{ending}"
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        expected = F.resized_crop(upright, top, left, height, width, [48, 48])
    sizes = []

    def region(tall, wide):
        sizes.append((tall, wide))
        return top, left, height, width

    with PictureReader(path) as reader:
        found = reader.read_crop(region, 48)
    assert found.shape == (1, 48, 48, 3) and found.dtype == np.uint8
    assert sizes == [upright.size[::-1]]
    # At the edge Pillow's filter sees what lies beyond it.
    inside = (slice(1, -1), slice(1, -1))
    expected = np.asarray(expected)[inside].astype(float)
    # JPEGs are decoded at half the size where that leaves enough.
    assert np.abs(found[0][inside] - expected).mean() <= limit
    with ArrayReader("pixels", np.array(upright.convert("RGB"))) as reader:
        assert np.array_equal(reader.read_crop(region, 48)[0][inside], expected)


def test_indices_outside_raise(tmp_path):
    reader = FrameReader(_save(tmp_path, ["1.png", "2.png"]), 30)
    for indices in ([], [-1], [2]):
        with pytest.raises(IndexError):
            reader.read(indices)


def _truncated(folder):
    data = (_save(folder, ["1.jpg"], (320, 240)) / "1.jpg").read_bytes()
    (folder / "1.jpg").write_bytes(data[: len(data) // 2])


def _damaged_png(folder):
    data = bytearray((_save(folder, ["1.png"]) / "1.png").read_bytes())
    data[len(data) // 2 :][:50] = bytes(50)
    data[60:100] = bytes(40)
    (folder / "1.png").write_bytes(data)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda folder: folder.rmdir(), "frames: no folder of pictures"),
        (lambda folder: None, "frames: holds no picture"),
        (lambda folder: (folder / "1.txt").touch(), "frames: holds no picture"),
        (lambda folder: (folder / "1.jpg").touch(), "1.jpg: does not decode"),
        (lambda folder: (folder / "1.png").write_text("no picture"), "1.png: does not decode"),
        (_truncated, "1.jpg: does not decode .*truncated"),
        (_damaged_png, "1.png: does not decode"),
        (
            lambda folder: _save(folder, ["img_1.png", "flow_x_1.png", "flow_y_1.png"]),
            r"several kinds \(flow_x_1.png, flow_y_1.png, img_1.png\)",
        ),
        (lambda folder: _save(folder, ["1.png", "1.jpg"]), "several kinds"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(tmp_path, make, words):
    folder = tmp_path / "frames"
    folder.mkdir()
    make(folder)
    with pytest.raises(DecodeError, match=words) as caught:
        FrameReader(folder, 30).read([0])
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_a_missing_picture_and_a_bad_rate(tmp_path):
    _save(tmp_path, ["1.png"])
    reader = FrameReader(tmp_path, 30, ["1.png", "2.png"])
    assert reader.read([0]).shape == (1, 48, 64, 3)
    with pytest.raises(DecodeError, match="2.png: no such picture; correct the list"):
        reader.read([0, 1])
    with pytest.raises(InputError, match="frame rate of pictures must be positive"):
        FrameReader(tmp_path, 0)


def test_one_door_for_files_folders_and_lists(tmp_path):
    path = encode(tmp_path / "a.mp4", range(0, 30, 3))
    folder = _save(tmp_path / "frames", ["1.png", "2.png", "3.png"])
    with open_reader(Video(path, 0, 1)) as reader:
        assert len(reader) == 10
    with open_reader(Video(str(folder), 0, 1, fps=12)) as reader:
        assert len(reader) == 3 and reader.fps == 12
    with open_reader(Video(str(folder), 0, 1, fps=12, frames="3.png\n1.png")) as reader:
        np.testing.assert_array_equal(reader.read([0])[0], moving_picture(2, 64, 48))
        assert len(reader) == 2


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts files through /proc")
def test_files_are_closed(tmp_path):
    _save(tmp_path, ["1.jpg", "2.jpg"])
    before = len(os.listdir("/proc/self/fd"))
    with FrameReader(tmp_path, 30) as reader:
        reader.read([0, 1])
        assert len(os.listdir("/proc/self/fd")) == before
