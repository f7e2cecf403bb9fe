"""Lists for k-fold cross-validation, out of one list: nothing leaks from a fold into another."""

import csv
import shutil
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mutualvideo.data.annotations import read_annotations, read_lines
from mutualvideo.errors import InputError
from mutualvideo.extras import import_extra
from mutualvideo.files import atomic_path

# A split is drawn so often; the first in which every fold can be learned and judged is taken.
_TRIES = 20


@dataclass(frozen=True)
class Fold:
    """One fold, as numbers of videos.

    Attributes:
        train, val: rows of the list, ascending.
        groups: of ``val``; the videos themselves where there are no groups.
    """

    train: list
    val: list
    groups: int


def make_folds(
    csv_paths, folds, output, group_by=(), meta=None, seed=0, separator=" ", prefix="", keep=False
):
    """Write ``fold0/train.csv``, ``fold0/val.csv``, ``fold1`` … into ``output``.

    Every video is in the val list of one fold, and in the train lists of the others; so are all
    videos of a group together. Classes are spread over the folds as evenly as the groups allow
    (scikit-learn's ``StratifiedGroupKFold``). ``classes.txt``, where it lies beside the first list,
    is copied into every fold.

    Args:
        csv_paths: lists of ``path label`` lines (``mutualvideo.data.annotations``), taken
            together; they share no video.
        folds: how many, at least 2.
        output: folder, made if need be.
        group_by: names of columns of ``meta``: videos that agree in all of them stay together,
            such as those of one scene or actor.
        meta: CSV file with a header, of which column ``path`` is the path in the list; ``None``:
            ``meta.csv`` beside the first list.
        seed: draws the split.
        separator, prefix: DATA.PATH_LABEL_SEPARATOR and DATA.PATH_PREFIX of the lists.
        keep: write paths as the lists have them, for training with DATA.PATH_PREFIX; else
            absolute ones.

    Returns:
        list of :class:`Fold`.

    Raises:
        InputError: for a bad list or meta file, a video that comes twice or that ``meta`` does
            not know, fewer groups than folds, a class that a fold's train list would lack, or
            where scikit-learn is missing.
    """
    if folds < 2:
        raise InputError(f"--folds must be at least 2, not {folds}")
    videos = [
        video
        for path in csv_paths
        for video in read_annotations(
            path, separator, prefix, allow_absolute=True, multi_label=True
        )
    ]
    for video in videos:
        if video.several is not None:
            raise InputError(
                f"{video.name}: has the labels {video.written_labels}; classes are spread over "
                "folds by one label a video, so lists with several have to be divided by hand"
            )
    _require_no_repetition(videos)
    groups = list(range(len(videos)))
    if group_by:
        meta = Path(meta or Path(csv_paths[0]).parent / "meta.csv")
        groups = _read_groups(meta, group_by, [video.name for video in videos])
    labels = [video.label for video in videos]
    found = split_folds(labels, groups, folds, seed)
    output = Path(output)
    _require_no_others(output, folds)
    names = Path(csv_paths[0]).parent / "classes.txt"
    for number, fold in enumerate(found):
        folder = output / f"fold{number}"
        for split, rows in (("train", fold.train), ("val", fold.val)):
            lines = [_line(videos[row], separator, keep) for row in rows]
            with atomic_path(folder / f"{split}.csv") as temporary:
                temporary.write_text("".join(lines), encoding="utf-8")
        if names.is_file():
            with atomic_path(folder / "classes.txt") as temporary:
                shutil.copyfile(names, temporary)
    return found


def _require_no_others(output, folds):
    """Refuses a folder with more folds than these: the others are of another division."""
    there = sorted(output.glob("fold*")) if output.is_dir() else ()
    mine = {f"fold{number}" for number in range(folds)}
    for folder in there:
        if folder.is_dir() and folder.name not in mine and folder.name[4:].isdigit():
            raise InputError(
                f"{folder}: is of another division, into more than {folds}: remove it, or give "
                "another --output"
            )


def split_folds(labels, groups, folds, seed):
    """Rows to folds.

    Args:
        labels: class of every video.
        groups: what it belongs to, a hashable of every video.
        folds: how many.
        seed: draws the split.

    Returns:
        list of :class:`Fold`.

    Raises:
        InputError: if there are fewer groups than folds, if in every one of some splits a class
            is missing from a train list, or where scikit-learn is missing.
    """
    if not 0 <= seed < 2**32 - _TRIES:
        raise InputError(f"--seed {seed}: expected 0 to {2**32 - _TRIES - 1}")
    selection = import_extra("sklearn.model_selection", "folds", "folds")
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    if len(numbers) < folds:
        raise InputError(f"--folds {folds}: there are only {len(numbers)} groups to divide")
    name, most = Counter(labels).most_common(1)[0]
    if most < folds:
        raise InputError(
            f"--folds {folds}: no class has so many videos, class {name} the most with {most}; "
            "make fewer folds"
        )
    keys, rows = [numbers[group] for group in groups], range(len(labels))
    missing = None
    for attempt in range(_TRIES):
        draw = selection.StratifiedGroupKFold(folds, shuffle=True, random_state=seed + attempt)
        parts = [(train.tolist(), val.tolist()) for train, val in _quiet(draw, rows, labels, keys)]
        lacking = [
            (number, min({*labels} - {labels[row] for row in train}))
            for number, (train, _) in enumerate(parts)
            if {*labels} - {labels[row] for row in train}
        ]
        if not lacking and all(val for _, val in parts):
            return [Fold(train, val, len({keys[row] for row in val})) for train, val in parts]
        missing = lacking[0] if lacking else missing
    if missing is None:
        raise InputError(f"--folds {folds}: some would be empty; make fewer folds")
    raise InputError(
        f"--folds {folds}: all videos of class {missing[1]} would be in the val list of fold "
        f"{missing[0]}, and none left to train on; make more folds or smaller groups"
    )


def _quiet(draw, rows, labels, keys):
    with warnings.catch_warnings():
        # That a class has fewer videos than there are folds: some val lists are without it.
        warnings.simplefilter("ignore", UserWarning)
        return list(draw.split(rows, labels, keys))


def _line(video, separator, keep):
    path = video.name if keep else str(Path(video.path).absolute())
    return f"{path}{separator}{video.label}\n"


def _require_no_repetition(videos):
    seen = set()
    for video in videos:
        path = str(Path(video.path).absolute())
        if path in seen:
            raise InputError(
                f"{video.name}: is in the lists twice, and could be trained on and tested; "
                "take one of the lines out"
            )
        seen.add(path)


def _read_groups(meta, columns, names):
    """Values of ``columns`` of every video, a list of tuples."""
    advice = "give --meta, a CSV file with a column 'path' and those of --group-by"
    lines = [line for _, line in read_lines(meta, "row about a video", advice)]
    table = csv.DictReader(lines)
    for column in ("path", *columns):
        if column not in (table.fieldnames or ()):
            raise InputError(
                f"{meta}: has no column {column!r}; it has {', '.join(table.fieldnames or ())}"
            )
    groups = {row["path"]: tuple(row[column] for column in columns) for row in table}
    for name in names:
        if name not in groups:
            raise InputError(f"{meta}: has no row about {name}, which the list holds; add it")
    return [groups[name] for name in names]
