"""Files in, one line each out: what ``mutualvideo predict`` prints and writes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mutualvideo.errors import InputError
from mutualvideo.files import StrPath, atomic_path
from mutualvideo.media import DecodeError
from mutualvideo.media_kind import PICTURE_ENDINGS, VIDEO_ENDINGS, is_of_kind, takes_pictures
from mutualvideo.runtime.prediction import Prediction, top_scores
from mutualvideo.runtime.recognizer import AdaptiveRecognizer
from mutualvideo.runtime.recorded import read_views
from mutualvideo.subnet import Subnet

BEST = 3


@dataclass(frozen=True)
class FileAnswer:
    """What one file shows.

    Args:
        path: the file.
        scores: float32 array (classes,), the mean over its clips; ``None``: it cannot be read.
        class_names: of the scores.
        prediction: of all its clips.
        error: why it cannot be read.
        features: float32 array (D,), the mean over its clips, where they were asked for.
    """

    path: Path
    scores: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    prediction: Prediction | None = None
    error: str | None = None
    features: np.ndarray | None = None

    def top(self, count: int) -> list[tuple[str, float]]:
        """The ``count`` most likely classes, ``[(label, score), ...]``; none of a bad file."""
        return [] if self.scores is None else top_scores(self.scores, self.class_names, count)

    def __str__(self) -> str:
        if self.prediction is None:
            return f"error: {self.error}"
        best = ", ".join(f"{label} {100 * score:.1f} %" for label, score in self.top(BEST))
        return f"{self.path}: {best} ({self.prediction.subnet})"

    def as_json(self) -> str:
        """One line of JSON: path, label, score, sub-network, costs, every class's probability."""
        found = self.prediction
        if self.scores is None or found is None:
            return json.dumps({"path": str(self.path), "error": self.error})
        ((label, score),) = self.top(1)
        return json.dumps(
            {
                "path": str(self.path),
                "label": label,
                "score": round(score, 6),
                "subnet": str(found.subnet),
                "macs": found.macs,
                "latency_ms": round(found.latency_ms / len(found.scores), 3),
                "probabilities": [round(float(value), 6) for value in self.scores],
                "classes": list(self.class_names),
            }
        )


def files_of(
    addresses: Iterable[StrPath], pictures: bool = False, videos: bool = False
) -> list[Path]:
    """The files that are named, and those of the folders that are: at any depth, by name.

    Args:
        addresses: files and folders.
        pictures, videos: what folders are searched for.

    Raises:
        InputError: if one is not there, or a folder holds nothing of the kind.
    """
    kinds = {"picture": PICTURE_ENDINGS} if pictures else {}
    kinds |= {"video": VIDEO_ENDINGS} if videos else {}
    endings = frozenset().union(*kinds.values())
    found: list[Path] = []
    for address in addresses:
        path = Path(address)
        if not path.is_dir():
            if not path.exists():
                raise InputError(f"{path}: no such file or folder")
            found.append(path)
            continue
        inside = sorted(one for one in path.rglob("*") if is_of_kind(one, endings, path))
        if not inside:
            what = " and no ".join(kinds)
            raise InputError(f"{path}: holds no {what} ({', '.join(sorted(endings))})")
        found += inside
    return list(dict.fromkeys(found))


def answer_files(
    recognizer: AdaptiveRecognizer,
    addresses: Sequence[StrPath],
    views: int = 1,
    features: bool = False,
) -> Iterator[FileAnswer]:
    """What each file shows, under the recogniser's budget.

    Args:
        recognizer: whose budget is set.
        addresses: see :func:`files_of`.
        views: clips of a video, evenly over it, whose scores are averaged.
        features: whether the answers hold features; their length may change with the
            sub-network, so that :meth:`AdaptiveRecognizer.switch` is what to use.

    Yields:
        :class:`FileAnswer`; one with ``error`` for a file that cannot be read, and the others
        follow.

    Raises:
        InputError: see :func:`files_of`; or for other ``views``.
    """
    pictures = takes_pictures(recognizer.cfg)
    for path in files_of(addresses, pictures, not pictures):
        try:
            clips = read_views(path, recognizer.cfg, views, recognizer.executor.segments)
        except DecodeError as error:
            yield FileAnswer(path, error=" ".join(str(error).split()))
            continue
        found = recognizer.predict(clips, features=features)
        mean = None if found.features is None else found.features.mean(0)
        yield FileAnswer(path, found.scores.mean(0), found.class_names, found, features=mean)


@contextmanager
def answers_csv(
    path: StrPath, class_names: Sequence[str]
) -> Iterator[Callable[[FileAnswer], None]]:
    """Yields ``write(FileAnswer)``, a line each; the file is whole once the block has ended.

    Columns: path, label, score, subnet, macs, latency_ms (of one clip), error, and the
    probability of every class under its name.
    """
    with atomic_path(path) as temporary:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            head = ["path", "label", "score", "subnet", "macs", "latency_ms", "error"]
            writer.writerow([*head, *class_names])

            def write(answer: FileAnswer) -> None:
                found = answer.prediction
                if answer.scores is None or found is None:
                    writer.writerow([answer.path, "", "", "", "", "", answer.error])
                    return
                ((label, score),) = answer.top(1)
                latency = f"{found.latency_ms / len(found.scores):.2f}"
                cells = [answer.path, label, f"{score:.4f}", found.subnet, found.macs, latency, ""]
                writer.writerow([*cells, *(f"{value:.4f}" for value in answer.scores)])

            yield write


def save_features(path: StrPath, answers: Sequence[FileAnswer], subnet: Subnet) -> int:
    """Writes the features of files, one NumPy archive over all.

    Its arrays: ``paths`` (N,) text, ``features`` (N, D) float32 and ``scores`` (N, classes)
    float32 in the same order, ``classes`` (classes,) text, and ``subnet``, whose features they
    are. Files that could not be read are not in it.

    Returns:
        How many files are.

    Raises:
        InputError: if none is.
    """
    good = [answer for answer in answers if answer.features is not None]
    if not good:
        raise InputError(f"{path}: not written: none of the files could be read")
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            paths=np.array([str(answer.path) for answer in good]),
            features=np.stack([answer.features for answer in good]),
            scores=np.stack([answer.scores for answer in good]),
            classes=np.array(good[0].class_names),
            subnet=np.array(str(subnet)),
        )
    return len(good)
