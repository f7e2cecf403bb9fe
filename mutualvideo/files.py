"""Files that are either complete or not there."""

import os
from contextlib import contextmanager
from pathlib import Path

from mutualvideo.errors import InputError


@contextmanager
def atomic_path(path):
    """Yields a temporary path in the same folder, renamed to ``path`` if the block succeeds.

    The folder is made if it is not there. The temporary name keeps the ending, because
    writers choose their format by it. If the block raises, ``path`` is as it was.

    Raises:
        InputError: if the folder cannot be made or written to, or ``path`` is a folder.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
    except OSError as error:
        temporary.unlink(missing_ok=True) if path.parent.is_dir() else None
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
