"""Many callers, one recogniser: answers in batches, and in time by answering more cheaply."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from mutualvideo.backends import Runner
from mutualvideo.budget import Budget, is_positive
from mutualvideo.errors import InputError
from mutualvideo.policy.backlog import Backlog, Request
from mutualvideo.policy.batching import BatchLatency
from mutualvideo.policy.steps import Steps
from mutualvideo.runtime.prepared import PreparationError
from mutualvideo.runtime.ready import Frames, ReadyRunners, stack
from mutualvideo.runtime.recognizer import AdaptiveRecognizer
from mutualvideo.serving.answer import Answer, answer_error, executor_of, make_answer
from mutualvideo.serving.service_stats import ServiceStats
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import Row

# An idle worker ends after this time, so that a service that is never closed leaves no thread.
_LINGER_S = 0.5
# Nothing waits longer without looking round.
_LOOK_S = 1.0


class OverloadError(RuntimeError):
    """There is no room for another request: too many wait already."""


class ClosedError(RuntimeError):
    """The service was closed."""


@dataclass(eq=False)
class _Asked(Request):
    """A request of a caller who holds its future.

    Args:
        follows: whether its budget is the recogniser's own.
        future: where the answer goes.
    """

    follows: bool = False
    future: Future[Answer] = field(default_factory=Future)

    def cancelled(self) -> bool:
        return self.future.cancelled()


class Service:
    """Answers the clips of any number of threads through one recogniser.

    Every accepted request gets exactly one answer or exception. What a request may cost is its
    budget, which is never exceeded; when it should be answered is its deadline. Clips that get
    the same sub-network are answered together, as many as have proved worthwhile (see
    :class:`~mutualvideo.policy.batching.BatchLatency`). When deadlines would be missed, all
    get cheaper sub-networks, as dear as the deadlines allow, instead of queueing; clients take
    turns (see :class:`~mutualvideo.policy.backlog.Backlog`). If even the cheapest cannot make
    a deadline it answers late, and :attr:`~mutualvideo.serving.answer.Answer.late` says so.
    Beyond ``max_queue`` requests are refused with an :class:`OverloadError`, at once.

    A sub-network that is not prepared is prepared in the background; until it is, a cheaper
    one that is prepared answers, if there is any. One that cannot be prepared fails all
    requests whose budget leads to it, with the PreparationError, for half a minute; then it is
    tried again.

    One thread runs the network while there is something to do. Cropping is done by the thread
    that calls :meth:`submit`. Use it in a ``with`` statement: leaving it answers what waits, or
    cancels it if an exception is on its way.

    Args:
        recognizer: an ``AdaptiveRecognizer``; others may go on using it meanwhile.
        max_batch: most clips answered together; batches are of 1, 2, 4... clips.
        max_wait_ms: how long a clip waits for others to share its batch, at most.
        max_queue: most requests that wait. Each holds its clip, cropped, and one input: 12 MB
            for 16 frames of 224 pixels.
        deadline_ms: for requests that give none.
        clock: seconds; for tests.

    Raises:
        InputError: if a number is out of range, or ``recognizer`` is none.
    """

    def __init__(
        self,
        recognizer: AdaptiveRecognizer,
        max_batch: int = 8,
        max_wait_ms: float = 2.0,
        max_queue: int = 64,
        deadline_ms: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, value in (("max_batch", max_batch), ("max_queue", max_queue)):
            if not isinstance(value, int) or value < 1:
                raise InputError(f"service: {name} must be a whole number above 0, got {value!r}")
        if not 0 <= max_wait_ms < float("inf"):
            raise InputError(f"service: max_wait_ms must be at least 0, got {max_wait_ms!r}")
        self._recognizer, self._clock = recognizer, clock
        self._executor = executor = executor_of(recognizer)
        self._max_queue = max_queue
        self._deadline_ms = _deadline(deadline_ms)
        self._wake = threading.Event()
        self._lock = threading.Lock()
        # All below under the lock.
        self._latency = BatchLatency(executor.table, max_batch)
        self._backlog: Backlog[_Asked] = Backlog(self._latency, max_batch, max_wait_ms / 1000)
        self._runners = ReadyRunners(executor, self._wake.set, clock)
        self._steps = Steps(executor.table, executor.backend.check, self._latency)
        self._cropping = 0
        self._count: Counter[str] = Counter()
        self._thread: threading.Thread | None = None
        self._taken: list[_Asked] = []
        self._closed = False

    def __enter__(self) -> Service:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        self.close(cancel=kind is not None)

    @property
    def stats(self) -> ServiceStats:
        """A :class:`ServiceStats`."""
        with self._lock:
            names = list(ServiceStats.__dataclass_fields__)[1:]
            waiting = len(self._backlog)
            return ServiceStats(waiting, *(self._count[name] for name in names))

    @property
    def slowdown(self) -> float | None:
        """By what factor the machine is slower than the table promises; ``None``: unknown."""
        with self._lock:
            return self._latency.slowdown.factor

    def submit(
        self,
        clip: Any,
        budget: Budget | str | float | None = None,
        *,
        macs: float | None = None,
        ms: float | None = None,
        fps: float | None = None,
        subnet: Subnet | None = None,
        deadline_ms: float | None = None,
        client: Hashable = None,
    ) -> Future[Answer]:
        """Has a clip answered; returns as soon as it is cropped.

        Args:
            clip: uint8 (T, H, W, 3), (3, T, H, W) or (1, 3, T, H, W), as ``predict`` takes it.
            budget: a :class:`~mutualvideo.budget.Budget` or its text, or
            macs: multiply-adds that it may cost, or
            ms: milliseconds in the network that one clip may take at the machine's present
                speed (the table's latencies times the slowdown observed), or
            fps: clips per second, if the machine answered them one after the other, or
            subnet: the row that answers, whatever the hurry. None of these: the
                recogniser's own budget, which follows the latency of these answers; a cascade
                does not run here, its first row does.
            deadline_ms: milliseconds from now by which the answer should be there; ``None``:
                the service's.
            client: with whom it shares its turns, anything hashable; ``None``: the calling
                thread.

        Returns:
            ``concurrent.futures.Future`` of an
            :class:`~mutualvideo.serving.answer.Answer`; cancelling it works until it is taken
            up. It fails with a PreparationError or an AnswerError, both of which name the
            sub-network.

        Raises:
            InputError: for a clip of another dtype or shape, if no budget is set, more than
                one is given, or it is below the cheapest row or that row was never calibrated.
            PreparationError: if the row was found to be broken in the last half minute.
            OverloadError: if ``max_queue`` requests wait.
            ClosedError: after :meth:`close`.
        """
        arrived_s = self._clock()
        deadline_ms = self._deadline_ms if deadline_ms is None else _deadline(deadline_ms)
        client = ("thread", threading.get_ident()) if client is None else client
        given = [value for value in (budget, macs, ms, fps, subnet) if value is not None]
        if len(given) > 1:
            raise InputError("give one budget: macs=..., ms=..., fps=... or subnet=...")
        with self._lock:
            self._check_open()
            if subnet is not None:
                steps = self._steps.only(subnet)
            elif given:
                steps = self._steps.within(Budget.of(budget, macs=macs, ms=ms, fps=fps))
            else:
                steps = self._steps.up_to(self._current())
            failure = self._runners.failure(steps[-1].subnet)
            if failure is not None:
                raise failure
            if len(self._backlog) + self._cropping >= self._max_queue:
                self._count["refused"] += 1
                raise OverloadError(
                    f"service: {self._max_queue} requests wait already (max_queue): "
                    "ask later, or for cheaper answers"
                )
            self._cropping += 1
        try:
            frames = Frames(clip, self._executor.preprocessing)
            # Most likely what will be wanted, and so made by this thread.
            frames.input(self._executor.backend.input_shape(steps[-1].subnet))
        except BaseException:
            with self._lock:
                self._cropping -= 1
            raise
        deadline_s = None if deadline_ms is None else arrived_s + deadline_ms / 1000
        costs = tuple(self._steps.cost(row) for row in steps)
        request = _Asked(frames, steps, costs, arrived_s, deadline_s, client, not given)
        with self._lock:
            self._cropping -= 1
            self._check_open()
            self._backlog.add(request)
            if self._thread is None:
                # Not a daemon: at the end of the program what was accepted is answered.
                self._thread = threading.Thread(target=self._work, name="service")
                self._thread.start()
        self._wake.set()
        return request.future

    def close(self, cancel: bool = False) -> None:
        """Accepts no more and waits until all requests are answered. May be called again.

        Args:
            cancel: cancels those that were not taken up, instead of answering them.
        """
        with self._lock:
            self._closed = True
            waiting, thread = list(self._backlog), self._thread
        for request in waiting if cancel else ():
            request.future.cancel()
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _current(self) -> Row:
        row = self._recognizer.current
        if row is None:
            raise InputError("give a budget, or call set_budget of the recogniser first")
        return row

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("service: it was closed, nothing can be submitted any more")

    def _work(self) -> None:
        self._taken = []
        try:
            while self._step():
                pass
        except BaseException as error:
            # Whatever went wrong, no caller may wait for ever.
            with self._lock:
                self._thread = None
                waiting = list(self._backlog)
                self._backlog.remove(waiting)
            self._fail([r for r in self._taken if not r.future.done()], error)
            self._fail(self._taking(waiting), error)
            raise

    def _step(self) -> bool:
        """Answers one batch or waits; ``False`` if the thread should end."""
        self._wake.clear()
        with self._lock:
            before = len(self._backlog)
            choice = self._backlog.choose(self._clock(), self._ready(), hurry=self._closed)
            self._count["cancelled"] += before - len(self._backlog)
            self._runners.ask(sorted(choice.wanted))
            broken = self._broken()
            runner = None if choice.row is None else self._runners.runner(choice.row.subnet)
            # If there is none, it was let go or broke in this moment.
            taken = choice.batch if runner is not None and not broken else []
            self._backlog.remove(taken)
            self._backlog.remove(broken)
            waiting = len(self._backlog)
            if self._closed and not (choice.batch or broken or waiting):
                self._thread = None
                return False
        for request, failure in broken.items():
            self._fail(self._taking([request]), failure)
        if taken and runner is not None:
            begin_s = self._clock()
            self._taken = self._taking(taken)
            if self._taken:
                self._answer(self._taken, runner, begin_s)
        elif not (choice.batch or broken):
            return self._wait(choice.until_s, waiting)
        return True

    def _wait(self, until_s: float | None, waiting: int) -> bool:
        """Until something happens; ``False`` if nothing waits and nothing has come for long."""
        wait_s = _LOOK_S if waiting else _LINGER_S
        if until_s is not None:
            wait_s = min(wait_s, max(until_s - self._clock(), 0.0))
        if self._wake.wait(wait_s) or waiting:
            return True
        with self._lock:
            if not len(self._backlog):
                self._thread = None
            return self._thread is not None

    def _ready(self) -> Callable[[Subnet], bool]:
        known = {}

        def ready(subnet: Subnet) -> bool:
            if subnet not in known:
                known[subnet] = subnet in self._runners
            return known[subnet]

        return ready

    def _broken(self) -> dict[_Asked, PreparationError]:
        """{request: why its best row cannot be prepared}."""
        failures = {r: self._runners.failure(r.best.subnet) for r in self._backlog}
        return {request: failure for request, failure in failures.items() if failure is not None}

    def _taking(self, requests: Collection[_Asked]) -> list[_Asked]:
        """Those that were not cancelled; from now on they cannot be."""
        taken = [r for r in requests if r.future.set_running_or_notify_cancel()]
        with self._lock:
            self._count["cancelled"] += len(requests) - len(taken)
        return taken

    def _fail(self, requests: Collection[_Asked], error: BaseException) -> None:
        """Outside the lock: what waits for a future may call this service."""
        with self._lock:
            self._count["failed"] += len(requests)
        for request in requests:
            request.future.set_exception(error)

    def _answer(self, batch: list[_Asked], runner: Runner, begin_s: float) -> None:
        """Outside the lock: exactly one answer or exception for each."""
        try:
            clips = stack([request.clip for request in batch], runner.shape)
            ready_s = self._clock()
            scores = runner(clips)
            end_s = self._clock()
        except Exception as error:
            self._failed(batch, runner, error)
            return
        ms = (end_s - ready_s) * 1000
        with self._lock:
            self._latency.observe(runner.subnet, len(batch), ms, (ready_s - begin_s) * 1000)
            self._count["batches"] += 1
        for request, own in zip(batch, scores, strict=True):
            answer = make_answer(
                self._executor,
                runner.subnet,
                own,
                latency_ms=ms,
                total_ms=(end_s - request.arrived_s) * 1000,
                wanted=request.best.subnet,
                late=request.deadline_s is not None and end_s > request.deadline_s,
                batch=len(batch),
            )
            with self._lock:
                self._count.update(answered=1, late=answer.late, shed=answer.shed)
            if request.follows:
                # The recogniser's own budget follows these answers as it follows those of predict.
                other_ms = (ready_s - begin_s) * 1000
                self._recognizer.observe(runner.subnet, ms / len(batch), other_ms / len(batch))
            request.future.set_result(answer)

    def _failed(self, batch: list[_Asked], runner: Runner, error: Exception) -> None:
        if len(batch) > 1:
            # Either there were too many, or one of them is bad: answering one by one tells.
            with self._lock:
                self._latency.failed(runner.subnet, len(batch))
            for request in batch:
                self._answer([request], runner, self._clock())
            return
        self._fail(batch, answer_error(self._executor, runner.subnet, error))


def _deadline(deadline_ms: float | None) -> float | None:
    if deadline_ms is not None and not is_positive(deadline_ms):
        raise InputError(f"deadline_ms={deadline_ms!r}: expected a finite number above 0")
    return deadline_ms
