"""What goes wrong between a loader and its worker processes, told apart by what torch raises.

None of it has a type of its own, and what is raised when a worker is gone depends on what it was
doing: a ``RuntimeError`` that names it, or whatever the hand-over of a file descriptor comes to
when nobody is left at the other end.
"""

import errno
import os
import pickle
import threading
from multiprocessing.reduction import ForkingPickler

import torch

from mutualvideo.errors import InputError

_GONE = (ConnectionError, EOFError, FileNotFoundError)
_GONE_TEXTS = ("DataLoader worker", "Pin memory thread exited")
_NO_FILES = {errno.EMFILE, errno.ENFILE}
# Seconds for the lock of an event, which workers hold for microseconds.
_PATIENCE = 5.0
# Open for a moment while the main process takes a tensor: sockets and their files.
_MORE_FILES = 6
_NO_SHARED_MEMORY = ("shared memory", "Bus error", "/dev/shm", "unable to write to file </torch")
_SHM_ADVICE = (
    "the shared memory that batches go through (/dev/shm) is too small: enlarge it (docker run "
    "--shm-size, or mount -o remount,size=), or lower TRAIN.BATCH_SIZE or DATA_LOADER.NUM_WORKERS; "
    "DATA_LOADER.NUM_WORKERS 0 needs none"
)


def is_death(error):
    """Whether ``error``, of asking for a batch, means that a worker is gone."""
    if isinstance(error, _GONE):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _GONE_TEXTS)


def limit_of(error):
    """The ``InputError`` for an ``error`` that means a limit of the system, or ``None``."""
    text = " ".join(str(error).split())
    if getattr(error, "errno", None) in _NO_FILES or "Too many open files" in text:
        return InputError(
            "too many open files: raise the limit (ulimit -n 65536) or lower "
            "DATA_LOADER.NUM_WORKERS"
        )
    if "unable to write to file </torch" in text or "unable to allocate shared memory" in text:
        return InputError(_SHM_ADVICE)
    if getattr(error, "errno", None) in (errno.EAGAIN, errno.ENOMEM):
        return InputError(
            f"workers of the loader cannot be started ({error.strerror}): lower "
            "DATA_LOADER.NUM_WORKERS, or raise the limits of processes (ulimit -u) and memory"
        )
    return None


def too_many_deaths(deaths, text):
    """The ``InputError`` for workers that died so often; ``text``: what was said at the last."""
    if any(words in text for words in _NO_SHARED_MEMORY):
        advice = _SHM_ADVICE
    else:
        advice = (
            "the system ends them where memory is short: lower DATA_LOADER.NUM_WORKERS or "
            "TRAIN.BATCH_SIZE"
        )
    return InputError(f"workers of the loader died {deaths} times in an epoch ({text}); {advice}")


def hand_over(batch):
    """What a worker returns in place of ``batch``, a nest of tensors; elsewhere the batch itself.

    torch shares and pickles what a worker returns in a thread of its queue, whose errors nobody
    sees: the batch would never come. Here that is done at once, in the thread that made the
    batch, and the queue is left with bytes, which the main process unpickles to the batch.

    Raises:
        RuntimeError, OSError: as :func:`limit_of` takes them.
    """
    if torch.utils.data.get_worker_info() is None:
        return batch
    packed = _Packed(bytes(ForkingPickler.dumps(batch)))
    spare = []
    try:
        for _ in range(_MORE_FILES):
            spare.append(os.dup(0))
    finally:
        for handle in spare:
            os.close(handle)
    return packed


class _Packed:
    """A pickled batch, whose own pickle opens to the batch."""

    def __init__(self, pickled):
        self._pickled = pickled

    def __reduce__(self):
        return pickle.loads, (self._pickled,)


class _Done:
    """torch's "the workers are done", which may be said although one of them is dead.

    Workers take the lock of the event at every batch. One that is killed while it holds it never
    gives it back, and ``set`` of the event itself would wait for it for ever. One that is just
    dying still counts as alive, so the wait has an end too.
    """

    def __init__(self, event, workers):
        self._event, self._workers, self._is_set = event, workers, False

    def is_set(self):
        return self._is_set

    def set(self):
        self._is_set = True
        if all(worker.is_alive() for worker in self._workers):
            setting = threading.Thread(target=self._event.set, daemon=True)
            setting.start()
            setting.join(_PATIENCE)
            if not setting.is_alive():
                return
        for worker in self._workers:
            worker.kill()


def outlive(iterator):
    """Makes torch's iterator end its workers without waiting for a dead one; returns it.

    torch leaves this to its handler of SIGCHLD, which raises wherever the main thread is.
    """
    event = getattr(iterator, "_workers_done_event", None)
    if event is not None and not isinstance(event, _Done):
        iterator._workers_done_event = _Done(event, iterator._workers)
    return iterator


def forget(error):
    """Ends what there is of torch's iterator, if ``error`` came up while it was made."""
    trace = error.__traceback__
    while trace is not None:
        found = trace.tb_frame.f_locals.get("self")
        if isinstance(found, torch.utils.data.dataloader._MultiProcessingDataLoaderIter):
            found._shutdown = True
            for worker in getattr(found, "_workers", ()):
                if worker.pid is not None:
                    worker.kill()
        trace = trace.tb_next
