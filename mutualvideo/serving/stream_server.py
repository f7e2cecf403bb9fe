"""Several video streams on one recogniser, each answered before its next clip comes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mutualvideo.backends import Runner
from mutualvideo.errors import InputError
from mutualvideo.policy.backlog import ready_row
from mutualvideo.policy.controller import ladder_of
from mutualvideo.policy.scheduler import Scheduler
from mutualvideo.policy.stream_plan import Stream, StreamPlan
from mutualvideo.runtime.clip_window import ClipWindow
from mutualvideo.runtime.ready import Frames, ReadyRunners, stack
from mutualvideo.runtime.recognizer import AdaptiveRecognizer
from mutualvideo.serving.answer import Answer, answer_error, executor_of, make_answer
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import Row

if TYPE_CHECKING:
    # It decodes; a server that is given clips does not.
    from mutualvideo.media.source import Source

# The longest wait before looking again.
_LOOK_S = 0.1


class StreamServer:
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
        self._executor, self._clock = executor_of(recognizer), clock
        executor = self._executor
        self._ladder = ladder_of(executor.table, "ms")
        for row in self._ladder:
            executor.backend.check(row.subnet)
        self._scheduler = Scheduler(executor.table, streams, share)
        self._changed = threading.Event()
        self._lock = threading.Lock()
        self._runners = ReadyRunners(executor, self._changed.set, clock)
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
        self._changed.set()

    def answer(self) -> tuple[str, Answer] | None:
        """Answers the clip that is due first.

        Returns:
            ``(name of its stream, Answer)``, or ``None`` if no clip waits.

        Raises:
            PreparationError: if its row cannot be prepared.
            AnswerError: if its row fails.
        """
        self._changed.clear()
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

    def wait(self) -> None:
        """Waits until a clip has come, for a tenth of a second at most."""
        self._changed.wait(_LOOK_S)

    def _runner(self, wanted: Row) -> Runner:
        failure = self._runners.failure(wanted.subnet)
        if failure is not None:
            raise failure
        row = ready_row(self._ladder, self._ladder.index(wanted), self._runners.__contains__)
        runner = None if row is None else self._runners.runner(row.subnet)
        # None was ready, or it was let go in this moment.
        return runner or self._executor.runners.get(wanted.subnet)


@dataclass(frozen=True)
class StreamSummary:
    """What became of a stream.

    Args:
        answered: clips with an answer; of these
        late: after the deadline.
        dropped: clips that a newer one of the stream replaced before they were taken up.
        subnets: ``{Subnet: clips it answered}``.
        problem: why the source was lost; ``None``: it was not.
    """

    answered: int
    late: int
    dropped: int
    subnets: dict[Subnet, int]
    problem: str | None


def run_streams(
    recognizer: AdaptiveRecognizer,
    streams: Sequence[tuple[Stream, Source]],
    answered: Callable[[str, Answer], object] | None = None,
    share: float = 0.9,
    seconds: float | None = None,
    stop: threading.Event | None = None,
) -> dict[str, StreamSummary]:
    """Recognises several videos at once on one device.

    The scheduler gives each stream a row so that all deadlines hold and the weighted sum of
    expected accuracies is large, and plans again when the machine's speed changes. A clip is cut
    from the last frames of each source once per period of its stream, as soon as there are
    enough; from a source that is shorter than a clip, one at its end. Recordings are played at
    their own pace.

    Args:
        recognizer: an ``AdaptiveRecognizer`` whose table has latencies.
        streams: ``[(Stream, source), ...]``; sources as ``open_source`` gives them, opened.
        answered: called with ``(name, Answer)`` after every answer, by the calling thread,
            which is the one that answers: it should return soon.
        share: how much of the device is planned, see :class:`StreamServer`.
        seconds: stop after this many seconds of each source; ``None``: at its end.
        stop: ``threading.Event`` that ends it early.

    Returns:
        ``{name: StreamSummary}``. A stream whose source was lost says so; the others go on.

    Raises:
        InputError: if the streams do not fit the device, or no source gave a single clip.
        PreparationError, AnswerError: if a row cannot be prepared or fails.
    """
    stop = threading.Event() if stop is None else stop
    over = _Either(stop)
    server = StreamServer(recognizer, [stream for stream, _ in streams], share)
    readers = [
        _Reader(server, recognizer.cfg.DATA, stream, source, seconds, over)
        for stream, source in streams
    ]
    who: dict[str, Counter[Subnet]] = {stream.name: Counter() for stream, _ in streams}
    for reader in readers:
        reader.thread.start()
    try:
        while True:
            ended = not any(reader.thread.is_alive() for reader in readers)
            answer = server.answer()
            if answer is None:
                if ended:
                    break
                server.wait()
                continue
            name, prediction = answer
            who[name][prediction.subnet] += 1
            if answered is not None:
                answered(name, prediction)
    finally:
        over.set()
        for reader in readers:
            reader.thread.join()
    for reader in readers:
        if reader.error is not None:
            raise reader.error
    problems = {reader.stream.name: reader.problem for reader in readers}
    if not any(who.values()):
        lost = [problem for problem in problems.values() if problem is not None]
        raise InputError(lost[0] if lost else "streams: stopped before the first clip")
    dropped, missed = server.dropped, server.missed
    return {
        name: StreamSummary(count.total(), missed[name], dropped[name], dict(count), problems[name])
        for name, count in who.items()
    }


class _Either(threading.Event):
    """Set when either this or the other event is."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or self._other.is_set()


class _Reader:
    """Takes the frames of one source, in a thread, and submits a clip every period.

    Attributes:
        thread: to be started.
        problem: why the source was lost, or ``None``.
        error: whatever else went wrong, an exception, or ``None``.
    """

    def __init__(
        self,
        server: StreamServer,
        data: Any,
        stream: Stream,
        source: Source,
        seconds: float | None,
        stop: threading.Event,
    ) -> None:
        self.stream, self._server, self._stop = stream, server, stop
        self._source = source.as_live()
        self._window, self._seconds = ClipWindow(data, source.fps), seconds
        self.thread = threading.Thread(target=self._read, name=f"stream {stream.name}")
        self.problem: str | None = None
        self.error: Exception | None = None

    def _read(self) -> None:
        try:
            if not self._submitted() and len(self._window):
                self._submit()
        except InputError as error:
            # Told in the summary: the other streams go on.
            self.problem = str(error)
        except Exception as error:
            self.error = error

    def _submitted(self) -> bool:
        """Takes all frames; whether a clip was cut."""
        next_s, period_s = 0.0, self.stream.period_ms / 1000
        frames = self._source.frames(self._see, self._stop)
        try:
            for time_s, _ in frames:
                if self._seconds is not None and time_s >= self._seconds:
                    break
                if self._window.full and time_s >= next_s:
                    next_s = time_s + period_s
                    self._submit()
        finally:
            frames.close()
        return next_s > 0

    def _see(self, time_s: float, frame: np.ndarray) -> None:
        self._window.add(time_s, frame)
        self._window.forget_old()

    def _submit(self) -> None:
        self._server.submit(self.stream.name, self._window.clip())
