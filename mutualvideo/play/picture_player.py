"""A picture, or a folder of them, recognised under one or several budgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mutualvideo.budget import Budget
from mutualvideo.errors import InputError
from mutualvideo.files import StrPath
from mutualvideo.media import DecodeError
from mutualvideo.media.picture_reader import PictureReader
from mutualvideo.media_kind import PICTURE_ENDINGS, is_of_kind, takes_pictures
from mutualvideo.runtime.prediction import Prediction
from mutualvideo.runtime.recognizer import AdaptiveRecognizer

BEST = 5


def recognise_pictures(
    recognizer: AdaptiveRecognizer, address: StrPath, budgets: Sequence[Budget]
) -> Iterator[tuple[Path, Budget | None, Prediction | DecodeError]]:
    """What every picture shows, for every budget.

    Args:
        recognizer: an ``AdaptiveRecognizer`` of a network of pictures.
        address: path of a picture, or of a folder; there every picture right in it, by name.
        budgets: :class:`~mutualvideo.budget.Budget` objects, at least one.

    Yields:
        ``(path, Budget, Prediction)``; in a folder ``(path, None, DecodeError)`` for a picture
        that cannot be read, and the others follow.

    Raises:
        InputError: if the network takes video, the single picture cannot be read, the folder holds
            none, or no budget is given or one is below the cheapest sub-network.
    """
    if not takes_pictures(recognizer.cfg):
        raise InputError("this network takes video, not pictures: play it with --source")
    if not budgets:
        raise InputError("no budget is given: name at least one")
    rows = [recognizer.table.best(budget) for budget in budgets]
    folder = Path(address)
    paths = _pictures(folder) if folder.is_dir() else [folder]
    for path in paths:
        try:
            with PictureReader(path) as reader:
                (pixels,) = reader.read([0])
        except DecodeError as error:
            if not folder.is_dir():
                raise
            yield path, None, error
            continue
        for budget, row in zip(budgets, rows, strict=True):
            yield path, budget, recognizer.predict(pixels, row.subnet)


def describe(path: Path, budget: Budget | None, found: Prediction | DecodeError) -> str:
    """One line about what :func:`recognise_pictures` yields."""
    if isinstance(found, DecodeError):
        return f"error: {found}"
    best = ", ".join(f"{label} {100 * score:.1f} %" for label, score in found.top(BEST))
    return f"{path}: within {budget} {found.subnet} ({Budget('macs', found.macs)}): {best}"


def _pictures(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if is_of_kind(path, PICTURE_ENDINGS))
    if not paths:
        raise InputError(f"{folder}: holds no picture ({', '.join(sorted(PICTURE_ENDINGS))})")
    return paths
