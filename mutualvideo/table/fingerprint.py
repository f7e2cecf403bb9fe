"""Which checkpoint and which list of videos a table belongs to, by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from mutualvideo.errors import InputError
from mutualvideo.files import StrPath


def fingerprint(path: StrPath) -> str:
    """What tells one file's content from another's: ``sha256:`` and 64 hexadecimal digits.

    Raises:
        InputError: if the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return f"sha256:{digest.hexdigest()}"


def check_content(path: StrPath, expected: str | None, otherwise: str) -> None:
    """Raises InputError, naming ``path`` and saying ``otherwise``, if that is another file.

    Args:
        path: of the file.
        expected: its :func:`fingerprint`; ``None``: nobody noted it, and nothing is held.
        otherwise: what is wrong then, and what to do.
    """
    if expected is not None and expected != fingerprint(path):
        raise InputError(f"{path}: {otherwise}")


def manifest(videos: Iterable[Any]) -> str:
    """What tells one list of videos from another: ``sha256:`` and 64 hexadecimal digits.

    Of the lines ``name label`` in their order, in UTF-8 and each ended by a newline: the same
    wherever the files lie, another for another label or order.

    Args:
        videos: list of :class:`~mutualvideo.data.annotations.Video`; several labels have commas
            between them.
    """
    lines = "".join(f"{video.name} {video.written_labels}\n" for video in videos)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"
