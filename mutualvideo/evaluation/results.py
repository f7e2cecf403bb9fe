"""What an evaluation found, as files: ``results.json``, predictions, accuracy of each class."""

import csv
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from mutualvideo import __version__
from mutualvideo.data.annotations import Video
from mutualvideo.evaluation.average_precision import average_precision
from mutualvideo.evaluation.scores import BEST, Evaluation, Predictions
from mutualvideo.files import atomic_path
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable
from mutualvideo.table.row import RARE, Row

FORMAT = "mutualvideo-results"
VERSION = 1
RESULTS_NAME = "results.json"


def write_results(
    folder: str,
    table: QueryTable,
    evaluation: Evaluation,
    videos: Sequence[Video],
    about: dict[str, Any],
) -> None:
    """Writes ``results.json``, and in ``evaluation/<sub-network>/`` what it is made of.

    That is ``predictions.csv`` (a line for each video), ``per_class.csv`` and ``confusion.png``;
    where videos have several labels ``per_class.csv`` holds average precisions, and nothing is
    confused. ``results.json`` comes last: where it lies, the others are whole.

    Args:
        folder: where to.
        table: the ``QueryTable`` of this evaluation.
        evaluation: :class:`~mutualvideo.evaluation.scores.Evaluation`, the main process's.
        videos: the whole list that was to be evaluated.
        about: what else ``results.json`` says; JSON values by name.

    Raises:
        InputError: if a file cannot be written.
    """
    # matplotlib is slow to import and only needed here.
    from mutualvideo.evaluation.confusion import plot_confusion

    names = table.metadata.get("classes")
    for subnet, found in evaluation.predictions.items():
        place = os.path.join(folder, "evaluation", str(subnet))
        if found.labels.ndim > 1:
            _write_csv(os.path.join(place, "predictions.csv"), _predictions(found, videos, names))
            _write_csv(os.path.join(place, "per_class.csv"), _precisions(found, names))
            continue
        matrix = confusion_matrix(found.labels, found.classes[:, 0], about["num_classes"])
        _write_csv(os.path.join(place, "predictions.csv"), _predictions(found, videos, names))
        _write_csv(os.path.join(place, "per_class.csv"), _per_class(found, matrix, names))
        top1 = evaluation.accuracies[subnet].top1
        title = f"{subnet}: top-1 {top1:.2f} % of {evaluation.videos} videos"
        plot_confusion(matrix, os.path.join(place, "confusion.png"), names, title)
    about = {
        **about,
        "videos": evaluation.videos,
        "expected": evaluation.expected,
        "missing": [{"name": video.name, "reason": video.reason} for video in evaluation.missing],
    }
    write_summary(folder, table, about, {row.subnet: _of_row(row) for row in table})


def write_summary(
    folder: str, table: QueryTable, about: dict[str, Any], rows: dict[Subnet, dict[str, Any]]
) -> None:
    """Writes ``results.json``: the last file of an evaluation.

    Args:
        folder, table: see :func:`write_results`.
        about: what it says of all rows.
        rows: what it says of each; all JSON values by name.

    Raises:
        InputError: if it cannot be written.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        **about,
        "macs_convention": table.metadata["macs"],
        "subnets": {str(subnet): found for subnet, found in rows.items()},
    }
    with atomic_path(os.path.join(folder, RESULTS_NAME)) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", "utf-8")


def _of_row(row: Row) -> dict[str, Any]:
    keys = ("top1", "top5", "clip_top1", "clip_top5", "macs", "macs_per_video")
    rare = [key for key in RARE if getattr(row, key) is not None]
    return {key: getattr(row, key) for key in (*keys, *rare)}


def library_versions(backend: str) -> dict[str, str]:
    """``{name: version}`` of what decides a result: Python, the libraries, this package.

    Args:
        backend: who decoded (``DATA.DECODING_BACKEND``).
    """
    libraries = {"torch", "torchvision", "av", "numpy"} | ({backend} - {"pyav"})
    found = {name: importlib.metadata.version(name) for name in sorted(libraries)}
    return {"python": platform.python_version(), **found, "mutualvideo": __version__}


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """How many videos of class i (row) were taken for class j (column).

    Args:
        labels, predicted: integers (V,), from 0 to ``num_classes - 1``.
        num_classes: of the classifier.

    Returns:
        int64 (num_classes, num_classes).
    """
    pairs = labels.astype(np.int64) * num_classes + predicted
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def _name(names: Sequence[str] | None, label: int) -> str:
    return names[label] if names else ""


def _predictions(
    found: Predictions, videos: Sequence[Video], names: Sequence[str] | None
) -> Iterator[list[Any]]:
    best = range(1, min(BEST, found.classes.shape[1]) + 1)
    yield ["video", "label", "label_name"] + [
        f"{what}{place}" for place in best for what in ("class", "name", "score")
    ]
    for row, label, classes, scores in zip(
        found.rows, found.labels, found.classes, found.scores, strict=True
    ):
        # Several ones are written as in the lists.
        labels = [int(label)] if np.ndim(label) == 0 else np.flatnonzero(label).tolist()
        line = [videos[row].name, ",".join(map(str, labels))]
        line.append(",".join(_name(names, one) for one in labels))
        for predicted, score in zip(classes[:BEST], scores[:BEST], strict=True):
            line += [predicted, _name(names, predicted), f"{score:.6f}"]
        yield line


def _per_class(
    found: Predictions, matrix: np.ndarray, names: Sequence[str] | None
) -> Iterator[list[Any]]:
    among = found.labels[(found.classes == found.labels[:, None]).any(1)]
    among = np.bincount(among, minlength=len(matrix))
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    yield ["class", "name", "videos", "correct", "top1", f"top{BEST}"] + [
        "most_confused_with",
        "most_confused_name",
        "most_confused_videos",
    ]
    for label, (videos, correct) in enumerate(zip(matrix.sum(1), matrix.diagonal(), strict=True)):
        counts = correct, among[label]
        shares = [f"{100 * count / videos:.2f}" if videos else "" for count in counts]
        other = wrong[label].argmax()
        confusion = [other, _name(names, other), wrong[label, other]]
        line = [label, _name(names, label), videos, correct, *shares]
        yield line + (confusion if wrong[label, other] else ["", "", ""])


def _precisions(found: Predictions, names: Sequence[str] | None) -> Iterator[list[Any]]:
    """Average precision of every class, of videos with several labels."""
    yield ["class", "name", "videos", "average_precision"]
    precisions = average_precision(found.labels, found.scores_by_class())
    for label, (videos, one) in enumerate(zip(found.labels.sum(0), precisions, strict=True)):
        yield [label, _name(names, label), videos, f"{100 * one:.4f}" if videos else ""]


def _write_csv(path: str, lines: Iterable[list[Any]]) -> None:
    with atomic_path(path) as temporary:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(lines)
