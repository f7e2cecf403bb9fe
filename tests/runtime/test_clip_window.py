import numpy as np
import pytest

from mutualvideo.data.sampling import clip_indices
from mutualvideo.runtime.clip_window import ClipWindow, Smoother
from tests.play.fakes import data, number_of, numbered


def filled(section, times, fps):
    window = ClipWindow(section, fps)
    for number, time_s in enumerate(times):
        window.add(time_s, numbered(number))
    return window


def numbers(clip):
    return [number_of(frame) for frame in clip]


@pytest.mark.parametrize("fps", [8.0, 25.0, 30000 / 1001, 60.0])
@pytest.mark.parametrize(("frames", "rate"), [(1, 4), (4, 1), (6, 2), (16, 5)])
@pytest.mark.parametrize("digits", [9, 3], ids=["exact", "milliseconds"])
def test_clips_are_those_of_training_and_evaluation(fps, frames, rate, digits):
    count, section = 200, data(frames, rate)
    window = filled(section, [round(number / fps, digits) for number in range(count)], fps)
    span = frames * rate * fps / 30
    for position in (0.0, 0.25, 0.5, 1.0):
        # On a frame: containers that round times cannot tell what lies just beside one.
        start = round((count - span) * position) if position < 1 else count - span
        expected = clip_indices(count, fps, frames, rate, 30, start / (count - span))
        assert numbers(window.clip((start + span) / fps)) == expected
    assert numbers(window.clip()) == clip_indices(count, fps, frames, rate, 30, 1.0)


def test_a_clip_by_hand():
    # 0.4 s at 30 fps are 12 frames: from 9 to 9 + 11 in six even steps, rounded down.
    window = filled(data(), [number / 30 for number in range(60)], 30.0)
    assert window.span_s == pytest.approx(0.4)
    assert numbers(window.clip(21 / 30)) == [9, 11, 13, 15, 17, 20]
    # Moved inwards at the ends.
    assert numbers(window.clip(0.1)) == numbers(window.clip(12 / 30)) == [0, 2, 4, 6, 8, 11]
    assert numbers(window.clip(9.0)) == numbers(window.clip()) == [48, 50, 52, 54, 56, 59]
    for end_s, first, last in ((21 / 30, 9, 20), (0.1, 0, 11), (9.0, 48, 59), (None, 48, 59)):
        assert window.spanned(end_s) == pytest.approx((first / 30, (last + 1) / 30))


def test_what_is_on_screen_at_a_variable_rate():
    # 1 s; instants 0, 0.3, 0.6, 0.9: one frame is shown for half a second.
    window = filled(data(4, 1, 4), [0.0, 0.1, 0.2, 0.7, 0.8, 0.9], 10.0)
    assert numbers(window.clip()) == [0, 2, 2, 5]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_short_streams_are_covered_from_end_to_end(count):
    window = filled(data(), [number / 30 for number in range(count)], 30.0)
    assert numbers(window.clip()) == clip_indices(count, 30.0, 6, 2, 30, 0.5)
    assert not window.full and window.spanned() == pytest.approx((0, count / 30))
    assert filled(data(), [number / 30 for number in range(12)], 30.0).full


def test_an_empty_window_has_no_clip():
    with pytest.raises(ValueError, match="no frame"):
        ClipWindow(data(), 30.0).clip()


def test_old_frames_are_let_go():
    window, longest = ClipWindow(data(), 30.0), 0
    for number in range(300):
        window.add(number / 30, numbered(number))
        window.forget_old()
        longest = max(longest, len(window))
        if window.full:
            assert numbers(window.clip())[-1] == number
            assert numbers(window.clip())[0] == number - 11
    assert longest == 12
    # What is still on screen stays, however old.
    window.forget(299.5 / 30)
    assert len(window) == 1


def test_frames_are_kept_small():
    window = ClipWindow(data(crop=24), 30.0)
    big = np.full((48, 80, 3), 7, np.uint8)
    window.add(0.0, big)
    window.add(0.1, numbered(5, 30, 50))
    assert window.clip().shape == (6, 24, 40, 3)
    assert number_of(window.clip()[-1]) == 5
    small = ClipWindow(data(crop=100), 30.0)
    small.add(0.0, big)
    assert small.clip().shape == (6, 48, 80, 3)
    # The caller may go on drawing on its frame.
    big[:] = 9
    assert (small.clip() == 7).all()


def test_smoothing_is_the_exponential_average():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.1, 1.0, 20))
    scores = rng.dirichlet(np.ones(4), 20)
    smooth = Smoother(0.8)
    for last in range(20):
        result = smooth(times[last], scores[last])
        # Every score stands for the time since the one before it; the first for all before.
        begins = np.concatenate([[-np.inf], times[:last]])
        ages = times[last] - times[: last + 1], times[last] - begins
        weights = np.exp(-ages[0] / 0.8) - np.exp(-ages[1] / 0.8)
        assert weights.sum() == pytest.approx(1)
        np.testing.assert_allclose(result, weights @ scores[: last + 1], atol=1e-12)


@pytest.mark.parametrize("stride", [0.1, 0.5, 1.0])
def test_smoothing_does_not_depend_on_the_stride(stride):
    smooth = Smoother(2.0)
    smooth(0.0, np.array([0.0, 1.0]))
    for step in range(1, round(3 / stride) + 1):
        result = smooth(step * stride, np.array([1.0, 0.0]))
    np.testing.assert_allclose(result, [1 - np.exp(-1.5), np.exp(-1.5)])


def test_no_smoothing():
    smooth = Smoother(0)
    for time_s in (0.0, 0.0, 1.0):
        scores = np.array([time_s, 1 - time_s])
        np.testing.assert_array_equal(smooth(time_s, scores), scores)


@pytest.mark.parametrize("share", [1.0, 0.875, 0.5])
def test_frames_are_kept_as_large_as_evaluation_reads_them(share):
    section = data()
    section.TEST_CROP_SHARE = share
    window = ClipWindow(section, 30.0)
    window.add(0.0, np.zeros((480, 640, 3), np.uint8))
    assert min(window.clip().shape[1:3]) == round(section.TEST_CROP_SIZE / share)
