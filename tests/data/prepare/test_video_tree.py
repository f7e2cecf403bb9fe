"""Which files are taken for videos: the same wherever folders are read."""

import pytest

from mutualvideo.data.prepare.video_tree import videos_below
from mutualvideo.data.sources import videofolder
from mutualvideo.media_kind import VIDEO_ENDINGS


@pytest.mark.parametrize("change", [str, str.upper])
def test_all_that_training_reads_is_checked_and_resized(tmp_path, change):
    names = {change(f"film{ending}") for ending in VIDEO_ENDINGS}
    for name in [*names, "notes.txt", ".hidden.mp4"]:
        (tmp_path / name).touch()
    assert {str(path) for path in videos_below(tmp_path)} == names
    assert {path.name for path in videofolder._videos_below(tmp_path)} == names
