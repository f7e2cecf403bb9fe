"""Lists of videos: PySlowFast's CSV, one ``path label`` a line."""

from dataclasses import dataclass, field
from pathlib import Path

from mutualvideo.errors import InputError


@dataclass(frozen=True)
class Video:
    """One line of a list.

    Args:
        path: where the file is; not checked to exist, decoding does that.
        label: class index, from 0.
        line: line number in the list, from 1, for messages.
        name: what the list calls it: the same wherever the files lie. Empty: ``path``.
    """

    path: str
    label: int
    line: int
    name: str = field(default="", compare=False)

    def __post_init__(self):
        if not self.name:
            object.__setattr__(self, "name", self.path)


@dataclass(frozen=True)
class VideoList:
    """One split of a data set, as its source reads it.

    Args:
        origin: the list it was read from, for messages.
        videos: list of :class:`Video`.
        segments: frames are drawn from equal segments of the whole video (TSN,
            arXiv 1608.00859) instead of at a fixed rate.
        mirrored: clips may be mirrored; not where left and right are classes.
    """

    origin: str
    videos: list
    segments: bool = False
    mirrored: bool = True


def read_annotations(csv_path, separator=" ", prefix="", num_classes=None):
    """Read a list of labelled videos in PySlowFast's format.

    The label is what follows the last separator of a line, so paths may hold the
    separator. Blank lines are skipped. Nothing is said about whether the files exist.

    Args:
        csv_path: text file in UTF-8.
        separator: what stands between path and label (``DATA.PATH_LABEL_SEPARATOR``).
        prefix: folder that relative paths start from (``DATA.PATH_PREFIX``); empty: the
            folder of the CSV. Absolute paths are left alone.
        num_classes: labels must be below it (``MODEL.NUM_CLASSES``); ``None``: unchecked.

    Returns:
        list of :class:`Video`, in the order of the lines.

    Raises:
        InputError: for a missing, unreadable or empty list, a line without a label, a label
            that is not an integer or is outside ``0 .. num_classes - 1``; with the line.
    """
    csv_path = Path(csv_path)
    if not separator:
        raise InputError("DATA.PATH_LABEL_SEPARATOR is empty: give what stands before the label")
    try:
        lines = csv_path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise InputError(
            f"{csv_path}: no such file; write one 'path label' a line, "
            "or point DATA.PATH_TO_DATA_DIR to the folder that holds it"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(f"{csv_path}: cannot be read as a list of videos: {reason}") from None
    root = Path(prefix) if prefix else csv_path.parent
    videos = [
        _parse(line.strip(), f"{csv_path}:{number}", number, separator, root, num_classes)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not videos:
        raise InputError(f"{csv_path}: holds no video; write one 'path label' a line")
    return videos


def _parse(line, where, number, separator, root, num_classes):
    path, found, label = line.rpartition(separator)
    if not (found and path.strip() and label.strip()):
        raise InputError(
            f"{where}: no label after {separator!r} in {line!r}; "
            "write 'path label' or set DATA.PATH_LABEL_SEPARATOR"
        )
    try:
        label = int(label)
    except ValueError:
        raise InputError(
            f"{where}: the label {label!r} is not an integer; "
            "number the classes from 0 or set DATA.PATH_LABEL_SEPARATOR"
        ) from None
    if label < 0 or (num_classes is not None and label >= num_classes):
        bound = "" if num_classes is None else f" .. {num_classes - 1}"
        raise InputError(
            f"{where}: the label {label} is outside 0{bound}; correct it or MODEL.NUM_CLASSES"
        )
    return Video(str(root / path.strip()), label, number, path.strip())
