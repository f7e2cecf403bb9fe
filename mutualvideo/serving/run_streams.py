"""Several cameras and files recognised at once on one device, as clips or frame by frame."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mutualvideo.budget import Budget
from mutualvideo.errors import InputError
from mutualvideo.media.instants import Instants
from mutualvideo.media.source import Source
from mutualvideo.policy.budget_script import BudgetScript
from mutualvideo.policy.stream_plan import Stream
from mutualvideo.runtime.clip_window import ClipWindow
from mutualvideo.runtime.prediction import Prediction
from mutualvideo.runtime.recognizer import AdaptiveRecognizer
from mutualvideo.serving.frame_server import FrameServer
from mutualvideo.serving.stream_server import StreamServer
from mutualvideo.subnet import Subnet

# Instants of frames are fractions, their sums are not.
_EPSILON_S = 1e-6
Shown = Callable[[str, float, np.ndarray], object]


@dataclass(frozen=True)
class StreamSummary:
    """What became of a stream.

    Args:
        answered: clips, in continual form frames, with an answer; of these
        late: after the deadline.
        dropped: clips or frames that a newer one of the stream replaced before they were taken up.
        subnets: ``{Subnet: clips or frames it answered}``.
        problem: why the source was lost; ``None``: it was not.
    """

    answered: int
    late: int
    dropped: int
    subnets: dict[Subnet, int]
    problem: str | None


def run_streams(
    recognizer: AdaptiveRecognizer,
    streams: Sequence[tuple[Stream | str, Source]],
    answered: Callable[[str, Any], object] | None = None,
    share: float = 0.9,
    seconds: float | None = None,
    stop: threading.Event | None = None,
    budget: BudgetScript | Budget | str | None = None,
    shown: Shown | None = None,
) -> dict[str, StreamSummary]:
    """Recognises several videos at once on one device. Recordings are played at their own pace.

    **Clips** (:class:`~mutualvideo.serving.stream_server.StreamServer`): the scheduler gives each
    stream a row so that all deadlines hold and the weighted sum of expected accuracies is large,
    and plans again when the machine's speed changes. A clip is cut from the last frames of each
    source once per period of its stream, as soon as there are enough; from a source that is
    shorter than a clip, one at its end.

    **Frame by frame** (:class:`~mutualvideo.serving.frame_server.FrameServer`), with a recogniser
    in continual form: every stream's frames are answered, as far apart as a clip's, on the rows
    that make most of one budget for all of them.

    Args:
        recognizer: an ``AdaptiveRecognizer`` whose rows have latencies.
        streams: ``[(Stream, source), ...]``, in continual form ``[(name, source), ...]``; sources
            as ``open_source`` gives them, opened.
        answered: called after every answer with ``(name, Answer)``, in continual form ``(name,
            StreamAnswer)``, by the calling thread, which is the one that answers: it should
            return soon.
        share: how much of the device is planned: the rest is for decoding and cropping.
        seconds: stop after this many seconds of each source; ``None``: at its end.
        stop: ``threading.Event`` that ends it early.
        budget: in continual form, instead of ``share``: what all streams together may cost a
            second, ``"2G/s"`` or ``"0.9core"``, or a ``BudgetScript`` of such, whose seconds
            are those of the frames answered.
        shown: called with ``(name, seconds, frame)`` of every frame for which there was time,
            after it was submitted, by the thread that reads the source.

    Returns:
        ``{name: StreamSummary}``. A stream whose source was lost says so; the others go on.

    Raises:
        InputError: if the streams do not fit the device or a budget, no source gave anything to
            answer, or streams and budget are not given as the recogniser's form wants them.
        PreparationError, AnswerError: if a row cannot be prepared or fails.
    """
    stop = threading.Event() if stop is None else stop
    over = _Either(stop)
    frames = getattr(recognizer, "frames", None)
    kind, form = (str, "names") if frames is not None else (Stream, "Stream objects")
    if not all(isinstance(stream, kind) for stream, _ in streams):
        raise InputError(f"streams: a recogniser in this form takes (name, source) pairs of {form}")
    if frames is None and budget is not None:
        raise InputError("budget: clips of several sources share the device; give share instead")
    server: StreamServer | FrameServer
    readers: list[_Reader]
    script: BudgetScript | None = None
    if frames is not None:
        if not isinstance(budget, BudgetScript):
            budget = BudgetScript([(0.0, Budget.of(budget or Budget("core", share)))])
        script = budget
        server = _frame_server(recognizer, [str(name) for name, _ in streams], script)
        readers = [
            _FrameReader(server, str(name), source, seconds, over, shown, frames.frame_s)
            for name, source in streams
        ]
    else:
        plain = [(stream, source) for stream, source in streams if isinstance(stream, Stream)]
        server = StreamServer(recognizer, [stream for stream, _ in plain], share)
        readers = [
            _ClipReader(server, stream, source, seconds, over, shown, recognizer.cfg.DATA)
            for stream, source in plain
        ]
    who: dict[str, Counter[Subnet]] = {reader.name: Counter() for reader in readers}
    for reader in readers:
        reader.thread.start()
    entry = 0
    try:
        while True:
            ended = not any(reader.thread.is_alive() for reader in readers)
            found = _answers(server)
            for name, prediction in found.items():
                who[name][prediction.subnet] += 1
                if answered is not None:
                    answered(name, prediction)
            if not found:
                if ended:
                    break
                server.wait()
            if script is not None and isinstance(server, FrameServer):
                entry = _follow(server, script, entry, found)
    finally:
        over.set()
        for reader in readers:
            reader.thread.join()
    for reader in readers:
        if reader.error is not None:
            raise reader.error
    if not any(who.values()):
        lost = [reader.problem for reader in readers if reader.problem is not None]
        raise InputError(lost[0] if lost else "streams: stopped before the first clip or frame")
    dropped, missed = server.dropped, server.missed
    return {
        reader.name: StreamSummary(
            who[reader.name].total(),
            missed[reader.name],
            dropped[reader.name] + reader.left_out,
            dict(who[reader.name]),
            reader.problem,
        )
        for reader in readers
    }


def _frame_server(
    recognizer: AdaptiveRecognizer, names: Sequence[str], script: BudgetScript
) -> FrameServer:
    """With the first budget; refuses those that cannot be met before a frame is read."""
    server = FrameServer(recognizer, names, script.entries[0][1])
    for budget in reversed(script.budgets):  # the first one last: it holds
        server.set_budget(budget)
    return server


def _follow(server: FrameServer, script: BudgetScript, entry: int, found: Mapping[str, Any]) -> int:
    """Sets the budget that holds at the time of the newest frame, if it is another one."""
    latest = max((answer.time_s for answer in found.values()), default=0.0)
    if script.index(latest) > entry:
        entry = script.index(latest)
        # All budgets were met at the speed of the start; of a slower machine the cheapest rows are
        # the best that can be had.
        server.set_budget(script.entries[entry][1], best_effort=True)
    return entry


def _answers(server: StreamServer | FrameServer) -> dict[str, Prediction]:
    if isinstance(server, FrameServer):
        return dict(server.answer())
    one = server.answer()
    return {} if one is None else dict([one])


class _Either(threading.Event):
    """Set when either this or the other event is."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or self._other.is_set()


class _Reader:
    """Takes the frames of one source, in a thread, and submits what is to be answered.

    Attributes:
        name: of the stream.
        thread: to be started.
        problem: why the source was lost, or ``None``.
        error: whatever else went wrong, an exception, or ``None``.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        seconds: float | None,
        stop: threading.Event,
        shown: Shown | None,
    ) -> None:
        self.name, self._stop, self._seconds, self._shown = name, stop, seconds, shown
        self._source = source.as_live()
        self.thread = threading.Thread(target=self._read, name=f"stream {name}")
        self.problem: str | None = None
        self.error: Exception | None = None

    @property
    def left_out(self) -> int:
        """What should have been submitted, and never was."""
        return 0

    def _read(self) -> None:
        frames = self._source.frames(self._see, self._stop)
        try:
            try:
                for time_s, frame in frames:
                    if self._seconds is not None and time_s >= self._seconds:
                        break
                    self._take(time_s, frame)
                    if self._shown is not None:
                        self._shown(self.name, time_s, frame)
            finally:
                frames.close()
            self._end()
        except InputError as error:
            # Told in the summary: the other streams go on.
            self.problem = str(error)
        except Exception as error:
            self.error = error

    def _see(self, time_s: float, frame: np.ndarray) -> None:
        """Every frame that is decoded."""

    def _take(self, time_s: float, frame: np.ndarray) -> None:
        """Every frame for which there was time."""
        raise NotImplementedError

    def _end(self) -> None:
        """After the last one."""


class _ClipReader(_Reader):
    """Submits a clip of the last frames every period."""

    def __init__(
        self,
        server: StreamServer,
        stream: Stream,
        source: Source,
        seconds: float | None,
        stop: threading.Event,
        shown: Shown | None,
        data: Any,
    ) -> None:
        super().__init__(stream.name, source, seconds, stop, shown)
        self._server, self._window = server, ClipWindow(data, source.fps)
        self._period_s, self._next_s = stream.period_ms / 1000, 0.0

    def _see(self, time_s: float, frame: np.ndarray) -> None:
        self._window.add(time_s, frame)
        self._window.forget_old()

    def _take(self, time_s: float, frame: np.ndarray) -> None:
        if self._window.full and time_s >= self._next_s - _EPSILON_S:
            self._next_s = time_s + self._period_s
            self._submit()

    def _end(self) -> None:
        if not self._next_s and len(self._window):
            self._submit()

    def _submit(self) -> None:
        self._server.submit(self.name, self._window.clip())


class _FrameReader(_Reader):
    """Submits the frames on screen at instants as far apart as a clip's frames."""

    def __init__(
        self,
        server: FrameServer,
        name: str,
        source: Source,
        seconds: float | None,
        stop: threading.Event,
        shown: Shown | None,
        frame_s: float,
    ) -> None:
        super().__init__(name, source, seconds, stop, shown)
        self._server, self._instants = server, Instants(frame_s, live=True)

    @property
    def left_out(self) -> int:
        return self._instants.missed

    def _take(self, time_s: float, frame: np.ndarray) -> None:
        for instant_s, on_screen in self._instants.until(time_s, frame):
            self._server.submit(self.name, on_screen, instant_s)
