"""Video through the recogniser in continual form: every frame once, an answer after each."""

from __future__ import annotations

import csv
import threading
from collections import deque

import numpy as np
from tqdm import tqdm

from mutualvideo.errors import InputError
from mutualvideo.files import StrPath, atomic_path
from mutualvideo.media.instants import Instants
from mutualvideo.media.source import Source
from mutualvideo.play.film import film
from mutualvideo.play.overlay import Overlay, Status
from mutualvideo.play.player import TOP, Part, Played, written_files
from mutualvideo.policy.budget_script import BudgetScript
from mutualvideo.runtime.clip_window import Smoother
from mutualvideo.runtime.prediction import top_scores
from mutualvideo.runtime.recognizer import AdaptiveRecognizer
from mutualvideo.subnet import Subnet

_EPSILON_S = 1e-6


def play_frames(
    recognizer: AdaptiveRecognizer,
    source: Source,
    script: BudgetScript,
    output: StrPath,
    stride_s: float = 0.0,
    smooth_s: float = 0.0,
    seconds: float | None = None,
    stop: threading.Event | None = None,
) -> Played:
    """Recognises a source frame by frame under a budget of a second that may change.

    The network is given the frames on screen every ``frame_s`` seconds, as far apart as a clip's.
    Of a recording none is left out; of a live source those are that came while the network was
    busy. Each frame of the film shows the answer known by then, which lags the row's delay.

    Writes ``<output>/<name>.mp4`` and ``.csv``, as :func:`~mutualvideo.play.player.play` does;
    the CSV says of every answer how long it warms up, too.

    Args:
        recognizer: an ``AdaptiveRecognizer`` with ``mode="continual"``.
        source, script, output, smooth_s, seconds, stop: as for ``play``; budgets are of a second.
        stride_s: answers are shown and written at least so many seconds apart; 0: all.

    Returns:
        A ``Played``.

    Raises:
        InputError: if a recording cannot be read, a budget cannot be met, or the folder cannot
            be written to; neither file is left half written.
    """
    for name, value in (("stride", stride_s), ("smooth", smooth_s)):
        if value < 0:
            raise InputError(f"{name} {value}: must not be below 0 seconds")
    if seconds is not None and seconds <= 0:
        raise InputError(f"seconds {seconds}: must be above 0 seconds")
    for budget in script.budgets:
        recognizer.set_budget(budget)
    mp4, table = written_files(source, output)
    stop = threading.Event() if stop is None else stop
    with atomic_path(table) as table_path, atomic_path(mp4) as mp4_path:
        with (
            film(mp4_path, source.fps) as writer,
            open(table_path, "w", newline="", encoding="utf-8") as file,
        ):
            player = _FramePlayer(recognizer, source, script, stride_s, smooth_s, csv.writer(file))
            frames, problem = player.run(writer, seconds, stop)
        if not frames:
            raise InputError(f"{source.name}: {problem or 'stopped before the first frame'}")
    parts = [part.summary() for _, part in sorted(player.parts.items())]
    dropped = source.dropped + player.missed
    return Played(parts, mp4, table, frames, dropped, problem)


class _FramePlayer:
    """One source on its way through."""

    def __init__(self, recognizer, source, script, stride_s, smooth_s, lines):
        if recognizer.frames is None:
            raise InputError('give the recogniser mode="continual"')
        self._recognizer, self._source, self._script = recognizer, source, script
        self._frame_s = recognizer.frames.frame_s
        self._stride_s, self._smooth, self._lines = stride_s, Smoother(smooth_s), lines
        ranks = range(1, min(TOP, len(recognizer.class_names)) + 1)
        lines.writerow(
            ["time_s", "subnet", "macs", "latency_ms", "budget", "warming_up", "filling"]
            + [f"{name}{rank}" for rank in ranks for name in ("top", "score")]
        )
        self._instants = Instants(self._frame_s, source.live)
        self._shown_s = -float("inf")
        self._entry: int | None = None
        # Who answered last.
        self._answered: Subnet | None = None
        self._overlay: Overlay | None = None
        # (seconds, multiply-adds) of the last second.
        self._spent: deque[tuple[float, int]] = deque()
        self.parts: dict[int, Part] = {}
        recognizer.frames.restart()

    @property
    def missed(self) -> int:
        """Frames to recognise that were left out."""
        return self._instants.missed

    def run(self, writer, seconds, stop) -> tuple[int, str | None]:
        """(frames written, why the source was lost or ``None``)."""
        source, problem, written = self._source, None, 0
        frames = source.frames(lambda time_s, frame: None, stop)
        with tqdm(total=source.count, unit="frame", desc=source.name, disable=None) as progress:
            try:
                for time_s, frame in frames:
                    if seconds is not None and time_s >= seconds:
                        break
                    for instant_s, on_screen in self._instants.until(time_s, frame):
                        self._recognise(instant_s, on_screen)
                    if self._overlay is None:
                        self._overlay = self._new_overlay(frame)
                    writer.write(self._overlay.draw(time_s, frame), time_s)
                    written += 1
                    progress.update()
            except InputError as error:
                if not source.live or not written:
                    raise
                problem = str(error)
            finally:
                frames.close()
        return written, problem

    def _recognise(self, time_s, frame) -> None:
        entry = self._script.index(time_s)
        budget = self._script.entries[entry][1]
        if entry != self._entry:
            self._recognizer.set_budget(budget)
            self._entry = entry
        found = self._recognizer.predict(frame)
        part = self.parts.setdefault(entry, Part(str(budget)))
        part.add(found, switched=found.subnet != self._answered)
        self._answered = found.subnet
        self._spent.append((time_s, found.macs))
        while self._spent[0][0] <= time_s - 1:
            self._spent.popleft()
        smooth = self._smooth(time_s, found.scores[0])
        if time_s - self._shown_s < self._stride_s - _EPSILON_S:
            return
        self._shown_s = time_s
        answers = top_scores(smooth, found.class_names, TOP)
        self._lines.writerow(
            [f"{time_s:.3f}", found.subnet, found.macs, f"{found.latency_ms:.2f}", part.budget]
            + [found.warming_up, found.filling]
            + [cell for label, score in answers for cell in (label, f"{score:.4f}")]
        )
        if self._overlay is None:
            self._overlay = self._new_overlay(frame)
        name = f"{found.subnet} warming up" if found.warming_up else str(found.subnet)
        # In the first second there is less than a second to add up.
        spent = sum(macs for _, macs in self._spent) / min(1.0, time_s + self._frame_s)
        status = Status(name, round(spent), found.latency_ms, budget, answers, "/s")
        self._overlay.update(time_s, status)

    def _new_overlay(self, frame: np.ndarray) -> Overlay:
        height, width = frame.shape[:2]
        rows = self._recognizer.frames.rows
        dearest = max(row.cost("macs_per_s") for row in rows)
        limits = [b.value for b in self._script.budgets if b.unit == "macs_per_s"]
        highest = 1.1 * min(max(limits, default=dearest), 1.5 * dearest)
        return Overlay(height, width, "macs_per_s", highest, self._source.duration_s)
