"""Jobs in processes that may crash or hang: one bad video must not end a run over a million.

``concurrent.futures`` gives up its whole pool when one process dies, and cannot end a job that
takes too long. Here every process has a pipe of its own; one that dies or is late is replaced.
"""

import multiprocessing
import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import wait

from tqdm import tqdm

from mutualvideo.errors import InputError

# Processes get this long to remove their temporary files before they are killed.
_GRACE = 10.0  # seconds


@dataclass(frozen=True)
class Failure:
    """Takes the place of a result: the process crashed or took too long.

    Args:
        reason: a few words for the user.
    """

    reason: str


def run_jobs(function, jobs, workers=None, timeout=None, desc="", unit="video", progress=None):
    """Call ``function(job)`` for every job in processes, with a bar.

    Args:
        function: a function of a module, so that a fresh process finds it.
        jobs: what it takes, one at a time; whatever can be pickled.
        workers: processes; ``None``: one a CPU. Never more than jobs.
        timeout: seconds that one job may take; ``None``: any time.
        desc, unit: words of the bar.
        progress: show it; ``None``: if the standard error is a terminal.

    Yields:
        (job, result), as they finish. The result is a :class:`Failure` if the process died
        ("the decoder crashed") or took more than ``timeout`` ("took longer than N s").

    Raises:
        InputError: for a bad count or time, or if ``function`` raises it: nothing is left
            running then, nor after an interrupt.
        RuntimeError: with the traceback, if ``function`` raises anything else.
    """
    jobs = list(jobs)
    if workers is not None and workers < 1:
        raise InputError(f"--workers must be at least 1, not {workers}")
    if timeout is not None and not timeout > 0:
        raise InputError(f"--timeout must be above 0 seconds, not {timeout:g}")
    quiet = not (sys.stderr.isatty() if progress is None else progress)
    bar = tqdm(total=len(jobs), desc=desc, unit=unit, disable=quiet)
    pool = _Pool(function, jobs, min(workers or os.cpu_count() or 1, len(jobs)), timeout)
    try:
        for done in pool.run():
            bar.update()
            yield done
    finally:
        bar.close()
        pool.stop()


class _Pool:
    def __init__(self, function, jobs, count, timeout):
        self._function, self._timeout = function, timeout
        self._waiting = jobs[::-1]
        self._context = multiprocessing.get_context(_start_method())
        if _start_method() == "forkserver":
            # Imports once instead of in every process.
            self._context.set_forkserver_preload([function.__module__])
        self._count, self._workers = count, []

    def run(self):
        for _ in range(self._count):
            self._start()
        while self._workers:
            for worker in self._next():
                if worker.job is None:
                    worker.receive()  # it says that it is ready
                else:
                    job, worker_done = worker.job, worker.receive()
                    yield job[0], worker_done
                if not worker.alive:
                    self._replace(worker)
                elif self._waiting:
                    worker.give(self._waiting.pop(), self._timeout)
                else:
                    self._workers.remove(worker)
                    worker.stop(idle=True)

    def _next(self):
        """Workers that have something to say, died or are late."""
        deadlines = [worker.deadline for worker in self._workers if worker.deadline]
        patience = max(min(deadlines) - time.monotonic(), 0) if deadlines else None
        found = wait([worker.pipe for worker in self._workers], patience)
        now = time.monotonic()
        return [w for w in self._workers if w.pipe in found or (w.deadline and now > w.deadline)]

    def _start(self):
        self._workers.append(_Worker(self._context, self._function))

    def _replace(self, worker):
        self._workers.remove(worker)
        if len(self._workers) < len(self._waiting):
            self._start()

    def stop(self):
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.stop()
        self._workers = []


class _Worker:
    """One process. Its pipe becomes readable when it has a result and when it dies."""

    def __init__(self, context, function):
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, function), daemon=True)
        self.process.start()
        theirs.close()
        self.job, self.deadline, self.alive = None, None, True

    def give(self, job, timeout):
        self.job = (job,)
        self.deadline = time.monotonic() + timeout if timeout else None
        self._timeout = timeout
        try:
            self.pipe.send(job)
        except OSError:
            pass  # it died meanwhile, which its pipe tells

    def receive(self):
        """The result of its job; a failure if it died or is late, and then it is ended."""
        started = self.job is not None
        self.job, self.deadline = None, None
        if not self.pipe.poll():
            self.stop()
            return Failure(f"took longer than {self._timeout:g} s")
        try:
            result, error = self.pipe.recv()
        except (EOFError, OSError):
            self.stop(idle=True)
            if not started:
                raise RuntimeError("a worker process ended before its first job") from None
            return Failure(f"the decoder crashed ({_how(self.process.exitcode)})")
        if error is not None:
            raise error
        return result

    def stop(self, idle=False):
        self.alive = False
        self.pipe.close()
        if idle:
            self.process.join(_GRACE)  # its pipe is closed, so it ends by itself
        for end in (self.process.terminate, self.process.kill):
            if self.process.is_alive():
                end()
                self.process.join(_GRACE)


def _work(pipe, function):
    # ^C reaches every process of a terminal: the parent alone decides, and ends the others
    # so that they still clean up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_once)
    try:
        pipe.send((None, None))
        while True:
            job = pipe.recv()
            try:
                answer = function(job), None
            except InputError as error:
                answer = None, error
            except Exception:
                answer = None, RuntimeError(f"in a worker process:\n{traceback.format_exc()}")
            pipe.send(answer)
    except (EOFError, OSError):
        return  # the parent has closed its end, perhaps while this one was being told something


def _end_once(*_):
    # A second one would cut the cleaning up short.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def _start_method():
    # Not fork: a forked process holds the pipes of its sisters, and locks of torch's threads.
    methods = multiprocessing.get_all_start_methods()
    return "forkserver" if "forkserver" in methods else "spawn"


def _how(exitcode):
    if exitcode is not None and exitcode < 0:
        return signal.Signals(-exitcode).name
    return f"exit code {exitcode}"
