"""Files that are either complete or not there."""

import errno
import os
from contextlib import contextmanager, suppress
from pathlib import Path

from mutualvideo.errors import InputError

StrPath = str | os.PathLike[str]

# Of the disk, while a file is written. Quotas are not known to every system.
_OF_THE_DISK = {
    *(errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)),
    *(errno.EIO, errno.EROFS, getattr(errno, "ESTALE", errno.EIO)),
}


@contextmanager
def atomic_path(path, durable=False):
    """Yields a temporary path in the same folder, renamed to ``path`` if the block succeeds.

    The folder is made if it is not there. The temporary name keeps the ending, because
    writers choose their format by it. If the block raises, ``path`` is as it was.

    Args:
        path: the file.
        durable: whether it must be on the disk, name and content, before the block is left: a
            power cut then finds the old file or the new one.

    Raises:
        InputError: if the folder cannot be made or written to, goes away meanwhile, or ``path`` is
            a folder; if the disk is full or broken.
    """
    path = Path(path)
    with _beside(path) as temporary:
        try:
            yield temporary
            if durable:
                _sync(temporary)
            os.replace(temporary, path)
            if durable and os.name == "posix":  # elsewhere folders cannot be opened
                _sync(path.parent)
        except OSError as error:
            gone = isinstance(error, FileNotFoundError) and str(temporary) == str(error.filename)
            if error.errno not in _OF_THE_DISK and not gone:
                raise
            raise InputError(
                f"{path}: cannot be written ({error.strerror}); what was there before is as it was"
            ) from error


def require_writable(path):
    """Raises as :func:`atomic_path` does if ``path`` cannot be made; it stays as it is."""
    with _beside(Path(path)):
        pass


@contextmanager
def _beside(path):
    """Yields a new file beside ``path``, which goes at the end if it is still there.

    Raises:
        InputError: if it cannot be made, or ``path`` is a folder.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.touch()
            if path.is_dir():
                raise IsADirectoryError("it is a folder")
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
        yield temporary
    finally:
        # An interrupt may have come while the file was being made. Where it could not be made, its
        # removal fails in the same way.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync(path):
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
