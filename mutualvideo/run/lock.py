"""One run at a time in an OUTPUT_DIR."""

import logging
import os
import socket
from contextlib import contextmanager

import portalocker

from mutualvideo.errors import InputError

logger = logging.getLogger(__name__)

LOCK_NAME = ".lock"
# Workers of a run that was killed hold its lock until they notice, after some seconds.
_PATIENCE_S = 12.0


# Device and number of the lock files that this process holds, by absolute folder.
_held = {}


@contextmanager
def exclusive(folder, patience_s=_PATIENCE_S, held=True):
    """Holds the folder. The system lets go of it when the process ends, however it ends.

    So a lock file that was left behind locks nothing. A file system without locks is warned of.

    Args:
        folder: made if it is not there.
        patience_s: how long to wait for another process to end, in seconds.
        held: ``False`` does nothing: of the processes of a run the main one holds the folder.

    Raises:
        InputError: if another process holds it, or the folder cannot be written to.
    """
    if not held:
        yield
        return
    path = os.path.join(folder, LOCK_NAME)
    flags = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
    lock = portalocker.Lock(path, "a+", timeout=patience_s, check_interval=0.5, flags=flags)
    try:
        os.makedirs(folder, exist_ok=True)
        file = lock.acquire()
    except portalocker.AlreadyLocked as error:
        with open(path, encoding="utf-8", errors="replace") as held:
            holder = held.readline(200).strip()
        raise InputError(
            f"OUTPUT_DIR {folder}: another run is writing here ({holder}); wait for it to end or "
            "choose another folder"
        ) from error
    except portalocker.LockException as error:
        logger.warning(
            "OUTPUT_DIR %s: its file system cannot lock (%s): see to it that no other run writes "
            "here",
            folder,
            error,
        )
        yield
        return
    except OSError as error:
        raise InputError(
            f"OUTPUT_DIR {folder}: cannot be written to ({error.strerror}); choose another folder"
        ) from error
    place = os.path.abspath(folder)
    try:
        _write_holder(file, path)
        _held[place] = _number(path)
        yield
    finally:
        _held.pop(place, None)
        lock.release()


def _write_holder(file, path):
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error


def _number(path):
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def require_same_folder(folder):
    """Whether what this process holds as ``folder`` is still there under that name.

    Raises:
        InputError: if the folder was moved or removed while a run was writing to it: what comes
            would lie elsewhere than what is there.
    """
    place = os.path.abspath(folder)
    if place in _held and _number(os.path.join(place, LOCK_NAME)) != _held[place]:
        raise InputError(
            f"OUTPUT_DIR {folder}: was moved or removed while the run was writing to it; start it "
            "again with OUTPUT_DIR where the folder is now, and it goes on from its newest "
            "checkpoint"
        )
