"""Prepared sub-networks: the last used ones are kept, new ones are made in the background."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout

from mutualvideo.backends import Backend, Runner
from mutualvideo.backends.common.forking import survives_fork
from mutualvideo.errors import InputError
from mutualvideo.subnet import Subnet

# What a recogniser says that close() was called of.
CLOSED = "this recogniser was closed: open the run anew"


class PreparationError(RuntimeError):
    """A backend failed to prepare a sub-network, which the message names."""


class _Job(Future):
    """A preparation.

    ``asked``: it is wanted whatever is switched to later. ``awaited``: somebody waits for it.
    """

    def __init__(self, subnet: Subnet) -> None:
        super().__init__()
        self.subnet, self.asked, self.awaited = subnet, False, False


class PreparedRunners:
    """The runners of a backend, one of which answers. Safe for any number of threads.

    One thread prepares, one sub-network after the other. Runners beyond ``cache_mib`` are let
    go, the one that was used longest ago first; the one that answers, the one switched to and
    those to :meth:`keep` stay whatever their size.

    Args:
        backend: :class:`~mutualvideo.backends.Backend`.
        cache_mib: bound of the sum of the runners' ``nbytes``, in MiB.
    """

    def __init__(self, backend: Backend, cache_mib: float = 512) -> None:
        if not cache_mib > 0:
            raise InputError(f"cache_mib {cache_mib}: must be above 0")
        self._backend = backend
        self._limit = cache_mib * 2**20
        self._lock = threading.RLock()
        # By sub-network, the one used last at the end.
        self._runners: OrderedDict[Subnet, Runner] = OrderedDict()
        # Those that wait, and the running one.
        self._jobs: OrderedDict[Subnet, _Job] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._answering: Runner | None = None
        self._target: _Job | None = None  # the one switched to
        self._unreported: _Job | None = None
        self._kept: frozenset[Subnet] = frozenset()
        self._lost: list[_Job] = []  # those that a fork took the thread from
        self._closed = False
        survives_fork(self)

    def after_fork(self) -> None:
        """In a forked process the thread that prepares is gone: what it had to do begins anew.

        With the next question, since a thread cannot be started while the process is made.
        """
        self._lock, self._thread = threading.RLock(), None
        self._lost = list(self._jobs.values())
        self._jobs.clear()

    def _begin_anew(self) -> None:
        target, waiting, self._lost = self._target, self._lost, []
        for old in waiting:
            job = self._job(old.subnet)
            job.asked, job.awaited = old.asked, old.awaited
            if old is target:
                self._target = job

    def close(self) -> None:
        """Lets go of every runner; waits for the one that is being prepared. May be called twice.

        Whatever asks for one afterwards gets an InputError.
        """
        with self._lock:
            self._closed, self._target, self._answering = True, None, None
            self._unreported, self._kept, thread = None, frozenset(), self._thread
            self._lost.clear()
            for job in list(self._jobs.values()):
                if job.cancel():
                    self._jobs.pop(job.subnet)
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        with self._lock:
            self._runners.clear()

    def _require_open(self) -> None:
        if self._closed:
            raise InputError(CLOSED)

    @property
    def target(self) -> Subnet | None:
        """The sub-network that was switched to, or ``None``; it may not answer yet."""
        with self._lock:
            return None if self._target is None else self._target.subnet

    @property
    def nbytes(self) -> int:
        """Memory of the runners that are kept, in bytes."""
        with self._lock:
            return sum(runner.nbytes for runner in self._runners.values())

    def __contains__(self, subnet: object) -> bool:
        """Whether ``subnet`` is prepared."""
        with self._lock:
            return subnet in self._runners

    def switch(self, subnet: Subnet) -> None:
        """Lets ``subnet`` answer as soon as it is prepared; returns at once.

        Until then the one before answers. A switch that was overtaken before its preparation
        began is dropped.

        Raises:
            PreparationError: if an earlier one failed and has not been reported yet, or this one
                has failed already; nothing is switched.
        """
        with self._lock:
            self._report()
            job, before = self._job(subnet), self._target
            if job.done():
                self._answering = job.result()
            self._target = job
            if before is not None and before is not job and not before.asked:
                if before.cancel():
                    self._jobs.pop(before.subnet)

    def request(self, subnets: Iterable[Subnet]) -> None:
        """Has ``subnets`` prepared in the background, in this order, as far as they fit."""
        with self._lock:
            for subnet in subnets:
                self._job(subnet).asked = True

    def keep(self, subnets: Iterable[Subnet]) -> None:
        """Has ``subnets`` prepared, and lets none of them go until this is called again."""
        with self._lock:
            self._kept = frozenset(subnets)
            self.request(subnets)

    def get(self, subnet: Subnet) -> Runner:
        """The runner of ``subnet``; waits until it is prepared.

        Raises:
            PreparationError: if that failed.
            InputError: if all was closed meanwhile.
        """
        try:
            return self._result(self.ask(subnet))
        except CancelledError:  # what is asked for is let go of by close() alone
            with self._lock:
                self._require_open()
            raise

    def ready(self, subnet: Subnet) -> Runner | None:
        """The runner of ``subnet`` if it is prepared, else ``None``. Never waits."""
        with self._lock:
            if subnet in self._runners:
                self._runners.move_to_end(subnet)
            return self._runners.get(subnet)

    def ask(self, subnet: Subnet) -> Future[Runner]:
        """Has ``subnet`` prepared in the background, whatever is switched to meanwhile.

        Returns:
            ``concurrent.futures.Future`` of its runner. It fails with a PreparationError;
            what is called when it is done must not wait for other threads.
        """
        with self._lock:
            job = self._job(subnet)
            job.asked = job.awaited = True
        return job

    def answering(self) -> Runner | None:
        """The runner to use now, or ``None`` if nothing was switched to.

        Waits only for the very first one.

        Raises:
            PreparationError: once, if preparing what was switched to failed. The one before goes
                on answering.
        """
        while True:
            with self._lock:
                self._report()
                if self._answering is not None or self._target is None:
                    return self._answering
                job = self._target
            try:
                self._result(job)
            except CancelledError:
                pass  # overtaken by another switch

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Waits until what was switched to answers.

        Args:
            timeout: seconds; ``None``: for as long as it takes.

        Returns:
            bool: whether it does; ``False`` when the time was up.

        Raises:
            PreparationError: if it cannot be prepared.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                self._report()
                job = self._target
            if job is None:
                return True
            try:
                self._result(job, None if end is None else max(0, end - time.monotonic()))
                return True
            except CancelledError:
                pass
            except FutureTimeout:
                return False

    def _result(self, job: Future[Runner], timeout: float | None = None) -> Runner:
        try:
            return job.result(timeout)
        except PreparationError:
            with self._lock:
                if self._unreported is job:
                    self._unreported = None
            raise

    def _report(self) -> None:
        self._require_open()
        if self._lost:
            self._begin_anew()
        job, self._unreported = self._unreported, None
        if job is not None:
            job.result()  # raises

    def _job(self, subnet: Subnet) -> _Job:
        """The preparation of ``subnet``: done, under way or begun now."""
        self._require_open()
        if subnet in self._runners:
            self._runners.move_to_end(subnet)
            return self._done(self._runners[subnet])
        job = self._jobs.get(subnet)
        if job is None:
            job = self._jobs[subnet] = _Job(subnet)
            if self._backend.immediate:
                self._prepare(job)
            elif self._thread is None:
                # Not a daemon: those are stopped in the midst of native code when Python ends.
                self._thread = threading.Thread(target=self._work, name="prepare")
                self._thread.start()
        return job

    def _done(self, runner: Runner) -> _Job:
        job = _Job(runner.subnet)
        job.set_result(runner)
        return job

    def _work(self) -> None:
        while True:
            with self._lock:
                if not threading.main_thread().is_alive():
                    self._drop_unneeded()
                job = next(iter(self._jobs.values()), None)
                if job is None:
                    self._thread = None
                    return
                job.set_running_or_notify_cancel()
            self._prepare(job)

    def _drop_unneeded(self) -> None:
        """At the end of the program, drops what was only asked for in advance."""
        for job in list(self._jobs.values()):
            if job is not self._target and not job.awaited and job.cancel():
                self._jobs.pop(job.subnet)

    def _prepare(self, job: _Job) -> None:
        try:
            runner = self._backend.prepare(job.subnet)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            failure = PreparationError(
                f"sub-network {job.subnet} cannot be prepared by backend "
                f"{self._backend.name!r}: {reason}"
            )
            failure.__cause__ = error
            self._arrived(job, None, failure)
        else:
            self._arrived(job, runner, None)

    def _arrived(self, job: _Job, runner: Runner | None, failure: PreparationError | None) -> None:
        with self._lock:
            self._jobs.pop(job.subnet, None)
            if failure is not None or runner is None:
                if self._target is job:
                    self._unreported = job
                    self._target = None if self._answering is None else self._done(self._answering)
                job.set_exception(failure)
                return
            self._runners[job.subnet] = runner
            if self._target is job:
                self._answering = runner
            self._let_go(job.subnet)
            job.set_result(runner)

    def _let_go(self, newest: Subnet) -> None:
        needed = {newest, *self._kept}
        needed |= {each.subnet for each in (self._target, self._answering) if each is not None}
        for subnet in list(self._runners):
            if self.nbytes <= self._limit:
                return
            if subnet not in needed:
                del self._runners[subnet]
