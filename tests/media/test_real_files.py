"""What holds on real files beside the checkout; skipped where there are none."""

import itertools

import av
import numpy as np
import pytest

from mutualvideo.media import DecodeError, open_video

from .conftest import skip_unless_loadable
from .files import BROKEN, REFUSED_BY_DECORD, real_files

pytestmark = pytest.mark.slow
# Long ones, of which a part is compared.
PARTS = {"media__long_1080p_videoonly_lowbitrate.mp4": [4320, 4325]}


def test_the_frames_of_the_manifest_or_one_named_error(backend):
    for path, entry in real_files():
        name = entry["file"]
        may_refuse = backend == "torchcodec" or (backend == "decord" and name in REFUSED_BY_DECORD)
        try:
            with open_video(path, backend) as reader:
                count = len(reader)
                indices = PARTS.get(name, sorted({0, count // 2, count - 1}))
                frames = reader.read(indices, short_side=64)
        except DecodeError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            if name in BROKEN:
                assert BROKEN[name] in str(error)
            else:
                assert may_refuse and f" {backend} " in str(error), str(error)
            continue
        assert name not in BROKEN and not (backend == "decord" and may_refuse), name
        assert count == entry["frames_decoded"], name
        assert reader.timestamps[0] == pytest.approx(entry["first_pts_s"], abs=1e-3), name
        width, height = entry["width"], entry["height"]
        if entry["rotation"] % 180 == 90:
            width, height = height, width
        scale = min(64 / min(width, height), 1)
        assert frames.shape == (len(indices), round(height * scale), round(width * scale), 3), name


@pytest.mark.parametrize("name", ["decord", "torchcodec"])
def test_backends_agree_with_pyav(name):
    skip_unless_loadable(name)
    agreeing = 0
    for path, entry in real_files():
        # Large ones are left out for their time.
        if entry["file"] in BROKEN or entry["width"] * entry["height"] > 1_000_000:
            continue
        with open_video(path) as reader:
            count = len(reader)
            indices = PARTS.get(entry["file"], sorted({0, count // 2, count - 1}))
            try:
                with open_video(path, name) as other:
                    assert other.timestamps == reader.timestamps
                    frames = other.read(indices).astype(np.int16)
            except DecodeError:
                continue
            difference = np.abs(frames - reader.read(indices)).mean()
        assert difference < 2, (entry["file"], difference)
        agreeing += 1
    assert agreeing > 25


def test_frames_from_the_middle_are_those_of_a_run_from_the_start():
    for path, entry in real_files():
        # Large ones are left out for their time.
        if entry["file"] in BROKEN or entry["width"] * entry["height"] > 500_000:
            continue
        with av.open(str(path)) as container:
            frames = itertools.islice(container.decode(video=0), 150)
            expected = dict(enumerate(frames))
            count = len(expected)
            indices = sorted({0, count // 3, count // 2, count // 2 + 1, count - 1} & set(expected))
            with open_video(path) as reader:
                frames = reader.read(indices)
            for frame, index in zip(frames, indices, strict=True):
                picture = expected[index]
                deep = picture.format.components[0].bits > 8
                rgb = picture.to_ndarray(format="rgb24", interpolation="POINT" if deep else None)
                rgb = np.rot90(rgb, round(picture.rotation / 90))
                np.testing.assert_array_equal(frame, rgb, err_msg=entry["file"])
