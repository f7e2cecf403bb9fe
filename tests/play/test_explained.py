import numpy as np

from mutualvideo.play.explained import overlaid


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
    assert overlaid(frames[:, :7, :5], maps).shape == (4, 6, 4, 3)
