"""Files and folders that appear when they are right, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mutualvideo.errors import InputError
from mutualvideo.files import StrPath


@contextmanager
def staging(path: StrPath) -> Iterator[Path]:
    """Yields a new folder beside ``path`` to write in; it is removed at the end.

    Raises:
        InputError: if it cannot be made, or the block raises an OSError (a full disk).
    """
    path = Path(path)
    folder = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            yield folder
        except OSError as error:
            reason = " ".join((error.strerror or str(error)).split())
            raise InputError(f"{path}: cannot be written ({reason})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def place(files: Sequence[Path], folder: StrPath) -> None:
    """Moves files, the first one last: once it is there, the others are there as well."""
    for file in reversed(files):
        os.replace(file, Path(folder) / file.name)
