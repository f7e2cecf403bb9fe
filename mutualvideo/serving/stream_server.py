"""Clips of several streams on one recogniser, each answered before its stream's next one comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from mutualvideo.backends import Runner
from mutualvideo.policy.backlog import ready_row
from mutualvideo.policy.controller import ladder_of
from mutualvideo.policy.scheduler import Scheduler
from mutualvideo.policy.stream_plan import Stream, StreamPlan
from mutualvideo.runtime.ready import Frames, ReadyRunners, stack
from mutualvideo.runtime.recognizer import AdaptiveRecognizer
from mutualvideo.serving.answer import Answer, answer_error, executor_of, make_answer
from mutualvideo.serving.awaited import Awaited
from mutualvideo.table.query import Row


class StreamServer(Awaited):
    """A :class:`~mutualvideo.policy.scheduler.Scheduler` at work on a recogniser.

    Any number of threads submit clips, one answers. A row of the plan that is not prepared is
    prepared in the background; until it is, the next cheaper row that is prepared answers, or
    else the next dearer.

    Args:
        recognizer: an ``AdaptiveRecognizer`` whose table has latencies; it should do little
            else meanwhile.
        streams: ``Stream`` objects.
        share: how much of the device is planned: the rest is for decoding and cropping.
        clock: seconds; for tests.

    Raises:
        InputError: if the streams do not fit the device as the table has it, or a row was
            never calibrated.
        PreparationError: if a row of the first plan cannot be prepared; all are waited for.
    """

    def __init__(
        self,
        recognizer: AdaptiveRecognizer,
        streams: Iterable[Stream],
        share: float = 0.9,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._executor, self._clock = executor_of(recognizer), clock
        executor = self._executor
        self._ladder = ladder_of(executor.table, "ms")
        for row in self._ladder:
            executor.backend.check(row.subnet)
        self._scheduler = Scheduler(executor.table, streams, share)
        self._lock = threading.Lock()
        self._runners = ReadyRunners(executor, self.wake, clock)
        # The cheapest too: it is what there is when the machine gets slow.
        for row in (self._ladder[0], *self.plan.rows.values()):
            executor.runners.get(row.subnet)

    @property
    def plan(self) -> StreamPlan:
        """The ``StreamPlan`` in force."""
        return self._scheduler.plan

    @property
    def slowdown(self) -> float | None:
        """By what factor the machine is slower than the table promises."""
        return self._scheduler.slowdown.factor

    @property
    def dropped(self) -> dict[str, int]:
        """``{name: count}``: clips whose stream had a newer one before they were taken up."""
        return dict(self._scheduler.dropped)

    @property
    def missed(self) -> dict[str, int]:
        """``{name: count}``: clips answered after their deadline."""
        return dict(self._scheduler.missed)

    def submit(self, stream: str, clip: Any) -> None:
        """Has a clip answered; it is due one period of its stream from now.

        Args:
            stream: name of its stream.
            clip: as ``AdaptiveRecognizer.predict`` takes it, one clip. Cropped by this thread.

        Raises:
            InputError: if there is no such stream, or for another dtype or shape.
        """
        now_s = self._clock()
        frames = Frames(clip, self._executor.preprocessing)
        row = self.plan.rows.get(stream)
        if row is not None:
            # Most likely what will be wanted, and so made by this thread.
            frames.input(self._executor.backend.input_shape(row.subnet))
        with self._lock:
            self._scheduler.submit(stream, now_s, (now_s, frames))
        self.wake()

    def answer(self) -> tuple[str, Answer] | None:
        """Answers the clip that is due first.

        Returns:
            ``(name of its stream, Answer)``, or ``None`` if no clip waits.

        Raises:
            PreparationError: if its row cannot be prepared.
            AnswerError: if its row fails.
        """
        self.look()
        with self._lock:
            job = self._scheduler.take()
        if job is None:
            return None
        runner = self._runner(job.row)
        submitted_s, frames = job.clip
        try:
            clips = stack([frames], runner.shape)
            begin_s = self._clock()
            scores = runner(clips)
            end_s = self._clock()
        except Exception as error:
            raise answer_error(self._executor, runner.subnet, error) from error
        ms = (end_s - begin_s) * 1000
        with self._lock:
            self._scheduler.finish(job, ms, end_s, runner.subnet)
            self._runners.ask(
                [row.subnet for row in self.plan.rows.values() if row.subnet not in self._runners]
            )
        return job.stream, make_answer(
            self._executor,
            runner.subnet,
            scores[0],
            latency_ms=ms,
            total_ms=(end_s - submitted_s) * 1000,
            wanted=job.row.subnet,
            late=end_s > job.deadline_s,
            batch=1,
        )

    def _runner(self, wanted: Row) -> Runner:
        failure = self._runners.failure(wanted.subnet)
        if failure is not None:
            raise failure
        row = ready_row(self._ladder, self._ladder.index(wanted), self._runners.__contains__)
        runner = None if row is None else self._runners.runner(row.subnet)
        # None was ready, or it was let go in this moment.
        return runner or self._executor.runners.get(wanted.subnet)
