"""Which frames and which crop a view is made of: arithmetic only, no video.

Follows PySlowFast's ``slowfast/datasets/decoder.py`` (``get_start_end_idx`` and
``temporal_sampling``), except for videos shorter than a clip: theirs repeats the last
frame, here the frames are spread over the whole video. Segments follow its
``slowfast/datasets/ssv2.py`` (``get_seq_frames``).
"""

import math

from mutualvideo.errors import InputError


def clip_indices(num_video_frames, fps, num_frames, sampling_rate, target_fps, position):
    """Frame indices of one clip.

    The clip spans ``num_frames * sampling_rate * fps / target_fps`` frames of the video, so
    that it lasts equally long at any frame rate.

    Args:
        num_video_frames: frames of the video, at least 1.
        fps: frame rate of the video.
        num_frames: frames of the clip (``DATA.NUM_FRAMES``).
        sampling_rate: distance between two of them, in frames at ``target_fps``.
        target_fps: frame rate that ``sampling_rate`` refers to.
        position: where in the slack the clip begins, 0 (first possible) to 1 (last).

    Returns:
        ``num_frames`` ints, never decreasing, within ``0 .. num_video_frames - 1``. A video
        shorter than the span is covered from end to end, with repetitions if need be.

    Raises:
        InputError: if a count or a rate is not positive or the position is outside 0 to 1.
    """
    if min(num_video_frames, num_frames, sampling_rate, target_fps) < 1 or not fps > 0:
        raise InputError(
            "frames, sampling rate and frame rates must be positive: "
            f"video of {num_video_frames} frames at {fps} fps, DATA.NUM_FRAMES {num_frames}, "
            f"DATA.SAMPLING_RATE {sampling_rate}, DATA.TARGET_FPS {target_fps}"
        )
    if not 0.0 <= position <= 1.0:
        raise InputError(f"the position of a clip must be within 0 to 1, not {position}")
    span = num_frames * sampling_rate * fps / target_fps
    start = max(num_video_frames - span, 0.0) * position
    last = min(start + span - 1, num_video_frames - 1)
    if num_frames == 1:
        # The middle of the span: its first frame would ignore the sampling rate.
        return [int((start + max(last, start)) / 2)]
    # A span below one frame (a very slow video) still has to step forwards.
    step = max(last - start, 0.0) / (num_frames - 1)
    # 1e-6: 2.9999999 out of the division means 3.
    return [int(min(start + step * i + 1e-6, num_video_frames - 1)) for i in range(num_frames)]


def seconds_apart(data):
    """Seconds from one frame of a clip to the next, at the frame rate ``TARGET_FPS``.

    More than ``SAMPLING_RATE`` frames, since the first and the last of a clip are the first and
    the last of the ``NUM_FRAMES * SAMPLING_RATE`` that it spans: 63 / 7 of 8 x 8. Where a clip has
    one frame, ``SAMPLING_RATE`` of them.

    Args:
        data: the DATA section of a configuration.
    """
    count, rate = data.NUM_FRAMES, data.SAMPLING_RATE
    frames = rate if count == 1 else (count * rate - 1) / (count - 1)
    return frames / data.TARGET_FPS


def segment_indices(num_video_frames, num_frames, offsets):
    """Frame indices of one clip, one out of each of ``num_frames`` equal segments of the video.

    Segment i runs from ``round(s * i)`` to ``round(s * (i + 1))``, both ends included, with
    ``s = (num_video_frames - 1) / num_frames`` (TSN, arXiv 1608.00859, as PySlowFast rounds it).

    Args:
        num_video_frames: frames of the video, at least 1.
        num_frames: frames of the clip (``DATA.NUM_FRAMES``).
        offsets: where in its segment each frame lies, from 0 to below 1: ``num_frames`` numbers,
            or one for all. Uniform random ones make every frame of a segment equally likely,
            0.5 is the centre (the earlier of two), and view k of n takes ``(k + 0.5) / n``.

    Returns:
        ``num_frames`` ints, never decreasing, within ``0 .. num_video_frames - 1``.

    Raises:
        InputError: if a count is not positive, or the offsets are outside 0 to 1 or not
            ``num_frames``.
    """
    if min(num_video_frames, num_frames) < 1:
        raise InputError(
            f"frames must be positive: video of {num_video_frames}, DATA.NUM_FRAMES {num_frames}"
        )
    if isinstance(offsets, (int, float)):
        offsets = [offsets] * num_frames
    offsets = [float(offset) for offset in offsets]
    if len(offsets) != num_frames or not all(0.0 <= offset < 1.0 for offset in offsets):
        raise InputError(f"offsets must be {num_frames} numbers from 0 to below 1, not {offsets}")
    size = (num_video_frames - 1) / num_frames
    bounds = [round(size * i) for i in range(num_frames + 1)]
    return [
        # Rounded up, so that 0.5 falls on the earlier one of two frames in the middle.
        first + max(math.ceil(offset * (last - first + 1)) - 1, 0)
        for offset, first, last in zip(offsets, bounds[:-1], bounds[1:], strict=True)
    ]


def test_positions(num_views):
    """Positions of ``num_views`` clips spread evenly: ``k / (num_views - 1)``, one: 0.5.

    Raises:
        InputError: if ``num_views`` is below 1.
    """
    if num_views < 1:
        raise InputError(f"TEST.NUM_ENSEMBLE_VIEWS must be at least 1, not {num_views}")
    return [0.5] if num_views == 1 else [k / (num_views - 1) for k in range(num_views)]


def view_indices(num_video_frames, fps, data, number, count, segments=False):
    """Frame indices of clip ``number`` of the ``count`` that evaluation takes of a video.

    Args:
        num_video_frames, fps: of the video.
        data: the DATA section of a configuration.
        number: from 0.
        count: TEST.NUM_ENSEMBLE_VIEWS.
        segments: the network was trained on segments of whole videos, see :func:`segment_indices`.

    Raises:
        InputError: as :func:`clip_indices` and :func:`test_positions`.
    """
    if segments:
        return segment_indices(num_video_frames, data.NUM_FRAMES, (number + 0.5) / count)
    position, rate = test_positions(count)[number], data.SAMPLING_RATE
    return clip_indices(num_video_frames, fps, data.NUM_FRAMES, rate, data.TARGET_FPS, position)


# A test runner that imports this name must not take it for a test.
test_positions.__test__ = False


def read_size(data):
    """The short side, in pixels, that evaluation reads frames at: the crop is a share of it.

    Args:
        data: the DATA section of a configuration.
    """
    return round(data.TEST_CROP_SIZE / data.TEST_CROP_SHARE)


def crop_offset(height, width, crop_index, num_crops):
    """Corner of a square crop of the short side, along the longer side.

    Args:
        height, width: of the frames, in pixels.
        crop_index: 0 .. ``num_crops - 1``: left (top), centre, right (bottom).
        num_crops: 1 (the centre alone) or 3.

    Returns:
        (top, left) in pixels. The centre is rounded up, as PySlowFast's ``uniform_crop``.

    Raises:
        InputError: for any other number of crops.
    """
    if num_crops not in (1, 3) or not 0 <= crop_index < num_crops:
        raise InputError(
            f"TEST.NUM_SPATIAL_CROPS must be 1 or 3 (crop {crop_index} of {num_crops} asked for)"
        )
    slack = abs(height - width)
    offset = [0, math.ceil(slack / 2), slack][1 if num_crops == 1 else crop_index]
    return (offset, 0) if height > width else (0, offset)
