import numpy as np
import pytest

from mutualvideo.play.explained import MapOverTime, overlaid
from mutualvideo.runtime.preprocess import Preprocessing


def look(share=1.0):
    return Preprocessing(4, 8, (0.5,) * 3, (0.25,) * 3, share)


def test_a_map_is_stretched_over_its_frames_in_space_and_time():
    frames = np.full((4, 8, 8, 3), 100, np.uint8)
    maps = np.zeros((2, 2, 2), np.float32)
    maps[1, :, 1] = 1
    drawn = overlaid(frames, maps)
    assert drawn.shape == frames.shape and drawn.dtype == np.uint8
    # Nothing in the first map; from there the right half grows into the second.
    np.testing.assert_array_equal(drawn[0], frames[0])
    np.testing.assert_array_equal(drawn[3, :, 0], frames[3, :, 0])
    change = np.abs(drawn[:, 4, 7].astype(int) - 100).sum(1)
    assert change[0] == 0 < change[1] < change[2] < change[3]


@pytest.mark.parametrize(
    ("share", "columns"), [(1.0, range(4, 12)), (0.5, range(6, 10))], ids=["whole", "half"]
)
def test_on_a_film_it_lies_on_the_square_that_the_network_saw(share, columns):
    frame = np.full((8, 16, 3), 100, np.uint8)
    one = MapOverTime(np.ones((1, 2, 2), np.float32), 0.0, 1.0, look(share))
    drawn = one.over(0.5, frame)
    changed = np.flatnonzero((drawn != frame).any((0, 2)))
    assert changed.tolist() == list(columns) and (frame == 100).all()


def test_on_a_film_it_follows_the_time_of_its_clip():
    frame = np.full((8, 8, 3), 100, np.uint8)
    maps = np.zeros((2, 1, 1), np.float32)
    maps[1] = 1
    one = MapOverTime(maps, 2.0, 4.0, look())
    change = [np.abs(one.over(t, frame).astype(int) - 100).max() for t in (0, 2.5, 3, 3.5, 9)]
    assert change[0] == change[1] == 0 < change[2] < change[3] == change[4]
