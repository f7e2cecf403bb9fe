"""Video through the recogniser: sliding clips in, an annotated mp4 and a CSV out."""

from __future__ import annotations

import csv
import logging
import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from tqdm import tqdm

from mutualvideo.budget import format_macs
from mutualvideo.errors import InputError
from mutualvideo.files import StrPath, atomic_path
from mutualvideo.media.encode import VideoWriter
from mutualvideo.media.source import Source
from mutualvideo.play.explained import MapOverTime
from mutualvideo.play.film import film
from mutualvideo.play.overlay import Overlay, Status, scale_of
from mutualvideo.policy.budget_script import BudgetScript
from mutualvideo.runtime.clip_window import ClipWindow, Smoother
from mutualvideo.runtime.explainer import Explainer
from mutualvideo.runtime.prediction import Prediction, top_scores
from mutualvideo.runtime.recognizer import AdaptiveRecognizer
from mutualvideo.subnet import Subnet

logger = logging.getLogger(__name__)

# Writes time, prediction, budget and the best answers.
Line = Callable[[float, Prediction, str, list[tuple[str, float]]], None]

TOP = 5
# Latencies that a median is taken of: a live source may run for days.
_LATENCIES = 1000


@dataclass(frozen=True)
class PartSummary:
    """What ran under one budget.

    Args:
        budget: the budget as text.
        subnet, macs: the sub-network that answered most often, and what it costs.
        clips: number of predictions.
        latency_ms: their median latency, measured here (of the last 1000). The first answer of a
            sub-network after another one's warms caches up and does not count, unless it is alone.
        label, score: the class with the highest score averaged over the predictions.
    """

    budget: str
    subnet: Subnet
    macs: int
    clips: int
    latency_ms: float
    label: str
    score: float


@dataclass(frozen=True)
class Played:
    """What became of one source.

    Args:
        parts: a ``PartSummary`` for each budget under which something was recognised.
        mp4, csv: the files, ``pathlib.Path``.
        frames: number of frames in the film.
        dropped: frames of a live source that could not be shown in time.
        problem: why a live source was lost; ``None``: it was not.
    """

    parts: list
    mp4: Path
    csv: Path
    frames: int
    dropped: int
    problem: str | None

    def __str__(self) -> str:
        lines = ["budget        sub-network      MACs  ms/clip  clips  answer"]
        lines += (
            f"{part.budget:<12}  {part.subnet!s:<13}  {format_macs(part.macs):>6}"
            f"  {part.latency_ms:7.1f}  {part.clips:5}  {part.label} ({100 * part.score:.0f} %)"
            for part in self.parts
        )
        dropped = f", {self.dropped} dropped" if self.dropped else ""
        lines.append(f"wrote {self.mp4} ({self.frames} frames{dropped}) and {self.csv}")
        return "\n".join(lines if self.problem is None else [*lines, f"error: {self.problem}"])


def play(
    recognizer: AdaptiveRecognizer,
    source: Source,
    script: BudgetScript,
    output: StrPath,
    stride_s: float = 0.5,
    smooth_s: float = 0.0,
    seconds: float | None = None,
    stop: threading.Event | None = None,
    explainer: Explainer | None = None,
) -> Played:
    """Recognises a source under a budget that may change.

    A prediction every ``stride_s`` seconds, and one when the budget changes. In a recording the
    clip lies around the middle of the frames that its answer is written on (of the first clip's
    length of them, if the stride is longer), moved inwards at the ends. Of a live source it is
    the most recent one, and frames that come in while the recogniser works are left out of the
    film, not of the clips.

    Writes ``<output>/<name>.mp4`` (h264, sub-network, cost, budget and top-5 drawn in) and
    ``.csv`` (one line per prediction). Frames are streamed: at most those of one clip's time
    are held, whatever the length. A source that is stopped or lost leaves both files whole.

    Args:
        recognizer: an ``AdaptiveRecognizer``.
        source: what ``open_source`` gives.
        script: a ``BudgetScript``.
        output: folder, made if it is not there.
        stride_s: seconds from one prediction to the next.
        smooth_s: time constant of the average of the scores; 0: every clip for itself.
        seconds: stop after this many seconds of the source; ``None``: at its end.
        stop: ``threading.Event`` that ends it early.
        explainer: of the recogniser: the frames show where each answer's best class was seen.
            Its time is not in the latencies, but it lets a live source drop more frames.

    Returns:
        A ``Played``.

    Raises:
        InputError: if a recording cannot be read, a budget cannot be met, or the folder cannot
            be written to; neither file is left half written.
    """
    for name, value, good in (
        ("stride", stride_s, stride_s > 0),
        ("smooth", smooth_s, smooth_s >= 0),
        ("seconds", seconds, seconds is None or seconds > 0),
    ):
        if not good:
            raise InputError(f"{name} {value}: must be above 0 seconds")
    _prepare(recognizer, script)
    mp4, table = written_files(source, output)
    player = _Player(recognizer, source, script, stride_s, smooth_s, explainer)
    stop = threading.Event() if stop is None else stop
    with atomic_path(table) as table_path, atomic_path(mp4) as mp4_path:
        with (
            film(mp4_path, source.fps) as writer,
            _lines(table_path, len(recognizer.class_names)) as line,
        ):
            frames, problem = player.run(writer, line, seconds, stop)
        if not frames:
            raise InputError(f"{source.name}: {problem or 'stopped before the first frame'}")
    parts = [part.summary() for _, part in sorted(player.parts.items())]
    return Played(parts, mp4, table, frames, source.dropped, problem)


def written_files(source: Source, output: StrPath) -> tuple[Path, Path]:
    """The film and the CSV of a source in ``output``.

    Raises:
        InputError: if the film would take the place of the video that it is of.
    """
    mp4, table = (Path(output) / f"{source.name}{ending}" for ending in (".mp4", ".csv"))
    if source.path is not None and mp4.exists() and mp4.samefile(source.path):
        raise InputError(f"{mp4}: is the video itself, choose another output folder")
    return mp4, table


def _prepare(recognizer: AdaptiveRecognizer, script: BudgetScript) -> None:
    """Refuses budgets that cannot be met, and has their sub-networks prepared.

    All of them now, so that an error in the last one does not come when the film is half done.
    """
    data = recognizer.cfg.DATA
    blank = np.zeros((data.NUM_FRAMES, data.TEST_CROP_SIZE, data.TEST_CROP_SIZE, 3), np.uint8)
    rows = [recognizer.set_budget(budget) for budget in script.budgets]
    if any(row.subnet.frames is None for row in rows):
        raise InputError("this network takes pictures, not video: play it with --image")
    for subnet in dict.fromkeys(row.subnet for row in rows):
        recognizer.predict(blank, subnet)


class Part:
    """What adds up under one budget."""

    def __init__(self, budget: str) -> None:
        self.budget, self.clips = budget, 0
        self.scores: Any = 0.0
        self.latencies: deque[float] = deque(maxlen=_LATENCIES)
        # Of first answers after a switch.
        self.cold: deque[float] = deque(maxlen=_LATENCIES)
        self.who: Counter[tuple[Subnet, int]] = Counter()

    def add(self, prediction: Prediction, switched: bool) -> None:
        self.clips += 1
        self.scores = self.scores + prediction.scores[0].astype(np.float64)
        (self.cold if switched else self.latencies).append(prediction.latency_ms)
        self.who[prediction.subnet, prediction.macs] += 1
        self.names = prediction.class_names

    def summary(self) -> PartSummary:
        (((subnet, macs), _),) = self.who.most_common(1)
        ((label, score),) = top_scores(self.scores / self.clips, self.names, 1)
        latency = median(self.latencies or self.cold)
        return PartSummary(self.budget, subnet, macs, self.clips, latency, label, score)


class _Player:
    """One source on its way through: window, budget, answer, film."""

    def __init__(
        self,
        recognizer: AdaptiveRecognizer,
        source: Source,
        script: BudgetScript,
        stride_s: float,
        smooth_s: float,
        explainer: Explainer | None,
    ) -> None:
        self._recognizer, self._source, self._script = recognizer, source, script
        self._explainer = explainer
        self._map: MapOverTime | None = None
        self._stride_s, self._smooth = stride_s, Smoother(smooth_s)
        self._window = ClipWindow(recognizer.cfg.DATA, source.fps)
        span_s = self._window.span_s
        if recognizer.executor.segments and not source.live:
            logger.warning(
                "%s: the network was trained and evaluated on frames from all of a video, and is "
                "shown windows of %.1f s here; `mutualvideo predict` reads whole files",
                source.name,
                span_s,
            )
        # Half of what is shown and half of the clip, so that their middles meet.
        self._ahead_s = (span_s + min(stride_s, span_s)) / 2
        # Of a recording: frames that wait for their answer, at most those of one span.
        self._waiting: deque[tuple[float, np.ndarray]] = deque()
        self._next_s = 0.0
        self._entry: int | None = None
        # Who answered last.
        self._answered: Subnet | None = None
        self._overlay: Overlay | None = None
        self.parts: dict[int, Part] = {}

    def run(
        self, writer: VideoWriter, line: Line, seconds: float | None, stop: threading.Event
    ) -> tuple[int, str | None]:
        """(frames written, why the source was lost or ``None``)."""
        self._writer, self._line, self._written = writer, line, 0
        source, problem = self._source, None
        frames = source.frames(self._see, stop)
        with tqdm(total=source.count, unit="frame", desc=source.name, disable=None) as progress:
            try:
                for time_s, frame in frames:
                    if seconds is not None and time_s >= seconds:
                        break
                    self._take(time_s, frame)
                    progress.update()
            except InputError as error:
                if not source.live or not self._written:
                    raise
                problem = str(error)
            finally:
                frames.close()
        if self._waiting or (self._written and not self.parts):
            self._finish()
        return self._written, problem

    def _see(self, time_s: float, frame: np.ndarray) -> None:
        self._window.add(time_s, frame)
        if self._source.live:
            self._window.forget_old()

    def _take(self, time_s: float, frame: np.ndarray) -> None:
        self._waiting.append((time_s, frame))
        if self._source.live:
            if self._window.full and time_s >= self._next_s:
                self._predict(time_s, None)
            self._show()
            return
        # The end of the clip: of the first ones, that of the first span.
        while (end_s := self._clip_end_s()) <= (self._window.end_s or 0.0) + 1e-6:
            # First the frames of the answer before, then the new answer.
            self._show(until_s=self._next_s)
            self._predict(self._next_s, end_s)
        self._show(until_s=self._next_s)
        self._window.forget_old()

    def _clip_end_s(self) -> float:
        return max(self._next_s + self._ahead_s, self._window.span_s)

    def _finish(self) -> None:
        """What a recording still owes when its last frame is known."""
        while self._waiting and self._waiting[-1][0] >= self._next_s:
            self._show(until_s=self._next_s)
            self._predict(self._next_s, self._clip_end_s())
        self._show()
        if not self.parts:
            # Live, and over before a clip was full.
            self._predict(self._next_s, None)

    def _predict(self, time_s: float, end_s: float | None) -> None:
        script, entry = self._script, self._script.index(time_s)
        budget = script.entries[entry][1]
        if entry != self._entry:
            self._recognizer.set_budget(budget)
            self._entry = entry
        clip = self._window.clip(end_s)
        prediction = self._recognizer.predict(clip)
        part = self.parts.setdefault(entry, Part(str(budget)))
        part.add(prediction, switched=prediction.subnet != self._answered)
        self._answered = prediction.subnet
        if self._explainer is not None:
            best = int(prediction.scores[0].argmax())
            _, maps = self._explainer.maps(prediction.subnet, clip, best)
            look = self._explainer.preprocessing
            self._map = MapOverTime(maps, *self._window.spanned(end_s), look)
        smooth = self._smooth(time_s, prediction.scores[0])
        answers = top_scores(smooth, prediction.class_names, TOP)
        self._line(time_s, prediction, part.budget, answers)
        status = Status(prediction.subnet, prediction.macs, prediction.latency_ms, budget, answers)
        if self._overlay is None:
            self._overlay = self._new_overlay()
        self._overlay.update(time_s, status)
        self._next_s = min(time_s + self._stride_s, script.next_change(time_s))

    def _show(self, until_s: float = math.inf) -> None:
        while self._waiting and self._waiting[0][0] < until_s:
            time_s, frame = self._waiting.popleft()
            if self._overlay is None:
                self._overlay = self._new_overlay(frame)
            if self._map is not None:
                frame = self._map.over(time_s, frame)
            self._writer.write(self._overlay.draw(time_s, frame), time_s)
            self._written += 1

    def _new_overlay(self, frame: np.ndarray | None = None) -> Overlay:
        height, width = (self._waiting[0][1] if frame is None else frame).shape[:2]
        unit, highest = scale_of(self._script.budgets, self._recognizer.table)
        return Overlay(height, width, unit, highest, self._source.duration_s)


@contextmanager
def _lines(path: StrPath, class_count: int) -> Iterator[Line]:
    """Yields ``line(time_s, prediction, budget, answers)``, which writes one line of the CSV."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        ranks = range(1, min(TOP, class_count) + 1)
        writer.writerow(
            ["time_s", "subnet", "macs", "latency_ms", "budget"]
            + [f"{name}{rank}" for rank in ranks for name in ("top", "score")]
        )

        def line(
            time_s: float, prediction: Prediction, budget: str, answers: list[tuple[str, float]]
        ) -> None:
            writer.writerow(
                [f"{time_s:.3f}", prediction.subnet, prediction.macs]
                + [f"{prediction.latency_ms:.2f}", budget]
                + [cell for label, score in answers for cell in (label, f"{score:.4f}")]
            )

        yield line
