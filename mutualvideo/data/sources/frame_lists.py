"""PySlowFast's frame lists: one picture a line, of Charades and Something-Something V2."""

from dataclasses import dataclass, field
from pathlib import Path

from mutualvideo.data.annotations import parse_label, unreadable
from mutualvideo.errors import InputError

# The first column's name is spelt in two ways.
_COLUMNS = ["video_id", "frame_id", "path", "labels"]
_HEADER = "original_vido_id " + " ".join(_COLUMNS)
_ADVICE = (
    "download PySlowFast's frame list and point DATA.PATH_TO_DATA_DIR to the folder that holds it"
)


@dataclass
class FrameList:
    """The pictures of one video.

    Args:
        line: of its first picture, from 1.
        folder: of all its pictures, as the list says.
        frames: names of the pictures within, in the order of the list, one a line; see
            :class:`mutualvideo.data.annotations.Video`.
        labels: every class index that one of them has.
    """

    line: int
    folder: str
    frames: str
    labels: set = field(default_factory=set)


def is_frame_list(path):
    """Whether the file ``path`` is there and opens with the header of a frame list."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.readline().split()[1:] == _COLUMNS
    except (OSError, UnicodeDecodeError):
        return False


def read_frame_list(path):
    """The videos of a frame list: ``original_vido_id video_id frame_id path labels`` a line.

    The last column holds class indices, in quotes, with commas between them, and may be ``""``.

    Args:
        path: text file in UTF-8.

    Returns:
        dict of :class:`FrameList` by ``original_vido_id``, in the order of the list.

    Raises:
        InputError: for a missing, unreadable or empty list, another header, a line that has
            not five columns, a label that is not an integer, or a video with pictures in
            several folders; with the line.
    """
    path = Path(path)
    videos = {}
    try:
        with open(path, encoding="utf-8-sig") as file:
            if file.readline().split()[1:] != _COLUMNS:
                raise InputError(f"{path}:1: expected the header {_HEADER!r}; {_ADVICE}")
            for number, line in enumerate(file, 2):
                columns = line.split()
                if columns:
                    _add(videos, columns, path, number)
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, "a frame list", error, _ADVICE) from None
    if not videos:
        raise InputError(f"{path}: holds no picture; {_ADVICE}")
    return videos


def _add(videos, columns, path, number):
    if len(columns) != 5:
        raise InputError(
            f'{path}:{number}: {len(columns)} columns instead of 5 ({_HEADER}); write "" where '
            "there are no labels"
        )
    key, _, _, picture, labels = columns
    folder, _, name = picture.rpartition("/")
    video = videos.get(key)
    if video is None:
        video = videos[key] = FrameList(number, folder, name)
    elif folder == video.folder:
        video.frames += f"\n{name}"
    else:
        raise InputError(
            f"{path}:{number}: {picture} is not in {video.folder}, where the others of {key} are; "
            "put the pictures of a video into one folder"
        )
    # Nearly every line of a long list: nothing to do.
    labels = labels.strip('"')
    for label in labels.split(",") if labels else ():
        video.labels.add(parse_label(label.strip(), f"{path}:{number}"))
