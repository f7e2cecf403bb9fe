"""Videos and lists of them; PySlowFast's CSV, one ``path label`` a line."""

import errno
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from mutualvideo.errors import InputError

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
# A name that ends as names of files do.
_FILE = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")


@dataclass(frozen=True)
class Video:
    """One line of a list.

    Args:
        path: where the file is, or the folder of its pictures; not checked to exist, decoding
            does that.
        label: class index, from 0; of several the lowest, of none -1.
        line: line number in the list, from 1, for messages (of a JSON list: the entry).
        name: what the list calls it: the same wherever the files lie. Empty: ``path``.
        fps: frame rate of the pictures in the folder ``path``; ``None``: ``path`` is a video.
        frames: names of the pictures, in order, one a line; empty: all that the folder holds.
            One text, because the lists of Something-Something name twenty million.
        several: all class indices, ascending, if it does not have one alone; else ``None``.
    """

    path: str
    label: int
    line: int
    name: str = field(default="", compare=False)
    fps: float | None = None
    frames: str = field(default="", repr=False)
    several: tuple | None = field(default=None, repr=False)

    @property
    def labels(self):
        """All class indices, ascending, as a tuple."""
        return (self.label,) if self.several is None else self.several

    @property
    def written_labels(self):
        """Its labels as a list in PySlowFast's format has them."""
        return ",".join(map(str, self.labels))

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
        classes: names of the classes, by label; ``None``: the source does not know them.
        open_picture: of pictures: what makes a :class:`mutualvideo.media.Reader` of one
            :class:`Video`, and pickles; ``None``: these are videos.
    """

    origin: str
    videos: list
    segments: bool = False
    mirrored: bool = True
    classes: list | None = None
    open_picture: object = None


def read_annotations(
    csv_path, separator=" ", prefix="", num_classes=None, allow_absolute=False, multi_label=False
):
    """Read a list of labelled videos in PySlowFast's format.

    The label is what follows the last separator of a line, so paths may hold the
    separator. Blank lines are skipped. Nothing is said about whether the files exist.

    Args:
        csv_path: text file in UTF-8.
        separator: what stands between path and label (``DATA.PATH_LABEL_SEPARATOR``).
        prefix: folder that relative paths start from (``DATA.PATH_PREFIX``); empty: the
            folder of the CSV.
        num_classes: labels must be below it (``MODEL.NUM_CLASSES``); ``None`` or 0: unchecked.
        allow_absolute: paths may lead out of ``prefix`` (``DATA.ALLOW_ABSOLUTE_PATHS``).
        multi_label: lines may have several labels, with commas between them: ``1,5,7``.

    Returns:
        list of :class:`Video`, in the order of the lines.

    Raises:
        InputError: for a missing, unreadable or empty list, a line without a label, a label
            that is not an integer or is outside ``0 .. num_classes - 1``, a path that leads out
            of ``prefix``; with the line.
    """
    csv_path = Path(csv_path)
    if not separator:
        raise InputError("DATA.PATH_LABEL_SEPARATOR is empty: give what stands before the label")
    place = Place(prefix or csv_path.parent, not prefix or allow_absolute)
    advice = (
        "write one 'path label' a line, or point DATA.PATH_TO_DATA_DIR to the folder that holds it"
    )
    return [
        _parse(line, f"{csv_path}:{number}", number, separator, place, num_classes, multi_label)
        for number, line in read_lines(csv_path, "video", advice)
    ]


@dataclass(frozen=True)
class Place:
    """The folder that the paths of a list start from.

    Args:
        root: the folder.
        is_open: whether they may be absolute or lead out of it by ``..``. Links are followed
            either way: whoever made them may write to the folder.
    """

    root: object
    is_open: bool

    def join(self, name, where):
        """Path, as str, of what a list calls ``name``.

        Raises:
            InputError: naming ``where``, if it leads out and may not, or holds a zero byte.
        """
        if "\0" in name:
            raise InputError(f"{where}: the path {name!r} holds a zero byte; correct the list")
        if not self.is_open and (
            os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == os.pardir
        ):
            raise InputError(
                f"{where}: the path {name!r} leads out of DATA.PATH_PREFIX {self.root}; correct "
                "it, or set DATA.ALLOW_ABSOLUTE_PATHS True if you trust the list"
            )
        return str(Path(self.root) / name)


def read_lines(path, what, advice):
    """The lines of a list that are not blank, stripped, with their numbers.

    Args:
        path: text file in UTF-8.
        what: what a line holds, such as "video", for messages.
        advice: what to do about a missing or empty list: the end of the message.

    Returns:
        list of (line number from 1, str), at least one.

    Raises:
        InputError: if the file is missing, empty or no text in UTF-8.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, f"a list of {what}s", error, advice) from None
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    lines = [(number, line) for number, line in lines if line]
    if not lines:
        raise InputError(f"{path}: holds no {what}; {advice}")
    return lines


def unreadable(path, what, error, advice):
    """The ``InputError`` for a file that did not read as ``what``; ``error``: what was raised."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path}: no such file; {advice}")
    reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
    if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
        reason += ": raise the limit (ulimit -n 65536)"
    return InputError(f"{path}: cannot be read as {what}: {reason}")


def check_label(label, where, num_classes):
    """Raises ``InputError`` unless ``label`` is an int from 0 to ``num_classes - 1``.

    ``num_classes`` ``None`` or 0: there is no upper bound.
    """
    if label < 0 or (num_classes and label >= num_classes):
        bound = f" .. {num_classes - 1}" if num_classes else ""
        raise InputError(
            f"{where}: the label {label} is outside 0{bound}; correct it or MODEL.NUM_CLASSES"
        )


def parse_label(text, where, or_else=""):
    """The integer that ``text`` writes in plain digits: ``1_0`` is none.

    Raises:
        InputError: for anything else; ``or_else`` is what may be wrong beside it.
    """
    if not re.fullmatch("-?[0-9]{1,18}", text):
        raise InputError(
            f"{where}: the label {text!r} is not an integer; number the classes from 0{or_else}"
        )
    return int(text)


def _check_path(path, line, where, separator):
    """What is no path, but columns that nobody reads: no file of that name would ever be found."""
    if len(path) > 1 and path[0] == path[-1] and path[0] in "'\"":
        raise InputError(f"{where}: the path {path} is in quotes; write it without them")
    first = path
    while (parts := first.rpartition(separator))[1] and _NUMBER.fullmatch(parts[2].strip()):
        first = parts[0]
    if first != path and _FILE.search(first.strip()):
        raise InputError(
            f"{where}: {line!r} has more columns than path and label; write 'path label' or set "
            "DATA.PATH_LABEL_SEPARATOR"
        )


def several_labels(labels, where, num_classes):
    """``label`` and ``several`` of a :class:`Video` with the class indices ``labels``.

    Raises:
        InputError: as :func:`check_label`.
    """
    labels = tuple(sorted(set(labels)))
    for label in labels:
        check_label(label, where, num_classes)
    if len(labels) == 1:
        return {"label": labels[0]}
    return {"label": labels[0] if labels else -1, "several": labels}


def _parse(line, where, number, separator, place, num_classes, multi_label):
    path, found, label = line.rpartition(separator)
    if not (found and path.strip() and label.strip()):
        raise InputError(
            f"{where}: no label after {separator!r} in {line!r}; "
            "write 'path label' or set DATA.PATH_LABEL_SEPARATOR"
        )
    advice = " or set DATA.PATH_LABEL_SEPARATOR"
    texts = [text.strip() for text in label.split(",")]
    if len(texts) > 1 and not multi_label:
        advice = "; where videos have several labels, set DATA.MULTI_LABEL True"
        texts = [label.strip()]
    found = several_labels([parse_label(text, where, advice) for text in texts], where, num_classes)
    path = path.strip()
    _check_path(path, line, where, separator)
    return Video(place.join(path, where), line=number, name=path, **found)
