import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mutualvideo.data.sampling import clip_indices, crop_offset, seconds_apart, segment_indices
from mutualvideo.data.sampling import test_positions as positions_of
from mutualvideo.errors import InputError


def _pyslowfast(num_video_frames, fps, num_frames, sampling_rate, target_fps, position):
    """get_start_end_idx and temporal_sampling of PySlowFast's decoder, as formulas."""
    clip_size = sampling_rate * num_frames / target_fps * fps
    start = max(num_video_frames - clip_size, 0) * position
    end = start + clip_size - 1
    index = torch.linspace(start, end, num_frames, dtype=torch.float64)
    return index.clamp(0, num_video_frames - 1)


@pytest.mark.parametrize("position", [0.0, 0.25, 0.5, 0.731, 1.0])
@pytest.mark.parametrize("fps", [30, 25, 29.97, 60])
@pytest.mark.parametrize("num_frames, rate", [(16, 5), (8, 8), (4, 12), (13, 6)])
def test_indices_equal_pyslowfast(num_frames, rate, fps, position):
    ours = clip_indices(300, fps, num_frames, rate, 30, position)
    theirs = _pyslowfast(300, fps, num_frames, rate, 30, position)
    assert len(ours) == num_frames
    for index, exact in zip(ours, theirs.tolist(), strict=True):
        assert index == math.floor(exact + 1e-6)


@pytest.mark.parametrize("position", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 2, 7, 16, 40, 79])
def test_a_short_video_is_covered_evenly(count, position):
    indices = clip_indices(count, 30, 16, 5, 30, position)
    assert indices == [int((count - 1) * i / 15 + 1e-6) for i in range(16)]
    assert indices[0] == 0 and indices[-1] == count - 1


@pytest.mark.parametrize("fps", [0.5, 1, 7, 1000])
@pytest.mark.parametrize("num_frames", [1, 2, 32])
@pytest.mark.parametrize("position", [0.0, 0.9999, 1.0])
def test_indices_stay_inside_at_any_rate(num_frames, fps, position):
    for count in (1, 3, 50, 500):
        indices = clip_indices(count, fps, num_frames, 2, 30, position)
        assert indices == sorted(indices) and len(indices) == num_frames
        assert 0 <= indices[0] and indices[-1] < count


@pytest.mark.parametrize(
    "change", [{"position": 1.1}, {"num_frames": 0}, {"fps": 0}, {"num_video_frames": 0}]
)
def test_impossible_clips(change):
    arguments = dict(
        num_video_frames=10, fps=30, num_frames=4, sampling_rate=2, target_fps=30, position=0.5
    )
    with pytest.raises(InputError):
        clip_indices(**{**arguments, **change})


def _pyslowfast_segments(num_video_frames, num_frames):
    """(first, last) of every segment as get_seq_frames of PySlowFast's ssv2 has them."""
    size = float(num_video_frames - 1) / num_frames
    return [(int(np.round(size * i)), int(np.round(size * (i + 1)))) for i in range(num_frames)]


@pytest.mark.parametrize("num_frames", [1, 4, 8, 16, 64])
@pytest.mark.parametrize("count", [1, 2, 7, 16, 40, 79, 117])
def test_segments_equal_pyslowfast(count, num_frames):
    segments = _pyslowfast_segments(count, num_frames)
    # Testing takes the centre.
    assert segment_indices(count, num_frames, 0.5) == [(a + b) // 2 for a, b in segments]
    # Training takes any frame, all equally likely: the middles of n equal parts hit n frames.
    for number, (first, last) in enumerate(segments):
        length = last - first + 1
        hit = [
            segment_indices(count, num_frames, (k + 0.5) / length)[number] for k in range(length)
        ]
        assert hit == list(range(first, last + 1))
    ends = [segment_indices(count, num_frames, offset) for offset in (0.0, 1 - 2**-53)]
    assert ends == [[a for a, _ in segments], [b for _, b in segments]]


def test_every_segment_has_its_own_offset():
    # s = 10: the segments are 0 .. 10, 10 .. 20 and 20 .. 30.
    assert segment_indices(31, 3, [0.0, 0.5, 0.99]) == [0, 15, 30]
    assert segment_indices(31, 3, torch.tensor([0.99, 0.0, 0.5])) == [10, 10, 25]


@pytest.mark.parametrize(
    "arguments", [(0, 4, 0.5), (9, 0, 0.5), (9, 4, 1.0), (9, 4, -0.1), (9, 4, [0.5] * 3)]
)
def test_impossible_segments(arguments):
    with pytest.raises(InputError):
        segment_indices(*arguments)


def test_test_positions():
    assert positions_of(1) == [0.5]
    assert positions_of(3) == [0.0, 0.5, 1.0]
    assert positions_of(10) == [k / 9 for k in range(10)]
    with pytest.raises(InputError):
        positions_of(0)


def test_crop_offsets():
    assert [crop_offset(10, 25, i, 3) for i in range(3)] == [(0, 0), (0, 8), (0, 15)]
    assert [crop_offset(25, 10, i, 3) for i in range(3)] == [(0, 0), (8, 0), (15, 0)]
    assert crop_offset(10, 24, 0, 1) == (0, 7)
    assert crop_offset(10, 10, 2, 3) == (0, 0)
    for crop in [(0, 2), (3, 3), (1, 1), (0, 5)]:
        with pytest.raises(InputError, match="NUM_SPATIAL_CROPS"):
            crop_offset(10, 20, *crop)


@pytest.mark.parametrize("frames, rate", [(8, 8), (13, 6), (4, 12), (16, 5), (5, 1), (2, 3)])
def test_frames_of_streams_are_as_far_apart_as_those_of_clips(frames, rate):
    data = SimpleNamespace(NUM_FRAMES=frames, SAMPLING_RATE=rate, TARGET_FPS=30)
    count = frames * rate
    clip = clip_indices(count, 30, frames, rate, 30, 0)
    apart = seconds_apart(data) * 30
    assert [int(apart * number + 1e-6) for number in range(frames)] == clip
    assert clip[-1] == count - 1


def test_one_frame_is_as_far_from_the_next_as_the_rate_says():
    assert seconds_apart(SimpleNamespace(NUM_FRAMES=1, SAMPLING_RATE=6, TARGET_FPS=30)) == 0.2
