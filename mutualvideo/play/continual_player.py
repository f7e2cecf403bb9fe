"""Video through the recogniser in continual form: every frame once, an answer after each."""

from __future__ import annotations

import threading

import numpy as np
from tqdm import tqdm

from mutualvideo.errors import InputError
from mutualvideo.files import StrPath, atomic_path
from mutualvideo.media.encode import VideoWriter
from mutualvideo.media.instants import Instants
from mutualvideo.media.source import Source
from mutualvideo.play.film import film
from mutualvideo.play.frame_film import FrameFilm
from mutualvideo.play.player import Played, written_files
from mutualvideo.policy.budget_script import BudgetScript
from mutualvideo.runtime.continual_recognizer import FramePrediction
from mutualvideo.runtime.recognizer import AdaptiveRecognizer


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
    check_times(stride_s, smooth_s, seconds)
    if recognizer.frames is None:
        raise InputError('give the recogniser mode="continual"')
    for budget in script.budgets:
        recognizer.set_budget(budget)
    mp4, table = written_files(source, output)
    stop = threading.Event() if stop is None else stop
    with atomic_path(table) as table_path, atomic_path(mp4) as mp4_path:
        with (
            film(mp4_path, source.fps) as writer,
            open(table_path, "w", newline="", encoding="utf-8") as file,
        ):
            shown = FrameFilm(recognizer, source, script.budgets, stride_s, smooth_s, file)
            player = _FramePlayer(recognizer, source, script, shown)
            frames, problem = player.run(writer, seconds, stop)
        if not frames:
            raise InputError(f"{source.name}: {problem or 'stopped before the first frame'}")
    dropped = source.dropped + player.missed
    return Played(shown.parts, mp4, table, frames, dropped, problem)


def check_times(stride_s: float, smooth_s: float, seconds: float | None) -> None:
    """Refuses what is no number of seconds here, naming it; 0 is every answer, and no average."""
    for name, value in (("stride", stride_s), ("smooth", smooth_s)):
        if value < 0:
            raise InputError(f"{name} {value}: must not be below 0 seconds")
    if seconds is not None and seconds <= 0:
        raise InputError(f"seconds {seconds}: must be above 0 seconds")


class _FramePlayer:
    """One source on its way through."""

    def __init__(
        self,
        recognizer: AdaptiveRecognizer,
        source: Source,
        script: BudgetScript,
        shown: FrameFilm,
    ) -> None:
        assert recognizer.frames is not None
        self._recognizer, self._source, self._script = recognizer, source, script
        self._shown = shown
        self._instants = Instants(recognizer.frames.frame_s, source.live)
        self._entry: int | None = None
        recognizer.frames.restart()

    @property
    def missed(self) -> int:
        """Frames to recognise that were left out."""
        return self._instants.missed

    def run(
        self, writer: VideoWriter, seconds: float | None, stop: threading.Event
    ) -> tuple[int, str | None]:
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
                    writer.write(self._shown.draw(time_s, frame), time_s)
                    written += 1
                    progress.update()
            except InputError as error:
                if not source.live or not written:
                    raise
                problem = str(error)
            finally:
                frames.close()
        return written, problem

    def _recognise(self, time_s: float, frame: np.ndarray) -> None:
        entry = self._script.index(time_s)
        budget = self._script.entries[entry][1]
        if entry != self._entry:
            self._recognizer.set_budget(budget)
            self._entry = entry
        found = self._recognizer.predict(frame)
        assert isinstance(found, FramePrediction)
        self._shown.take(time_s, found, entry, budget)
