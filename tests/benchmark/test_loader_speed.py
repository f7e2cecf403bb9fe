"""Frames are counted and held against the time of their own loader."""

import pytest

from mutualvideo.benchmark import loader_speed
from tests.data.videos import encode


@pytest.mark.slow
def test_frames_of_a_clock_by_hand(tmp_path, monkeypatch):
    source = encode(tmp_path / "a.mp4", range(0, 120, 3))
    # Asked before each of the first epoch, which does not count, and before and after those of the
    # second: original, file and shard.
    clock = iter([0, 0, 0, 0, 4, 4, 6, 6, 7])
    monkeypatch.setattr(loader_speed.time, "process_time", lambda: next(clock))
    found = loader_speed.load(1, {"it": source})
    # 8 clips of 16 frames in 4, 2 and 1 seconds.
    assert found == {
        "it: resized file / original": {
            "ratio": 0.5,
            "ours_frames_per_s": 64.0,
            "theirs_frames_per_s": 32.0,
        },
        "it: shard / resized file": {
            "ratio": 0.5,
            "ours_frames_per_s": 128.0,
            "theirs_frames_per_s": 64.0,
        },
    }
