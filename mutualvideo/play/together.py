"""Several cameras and files at once in continual form, under one budget for all of them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from mutualvideo.errors import InputError
from mutualvideo.files import StrPath, atomic_path
from mutualvideo.media.source import Source
from mutualvideo.play.continual_player import check_times
from mutualvideo.play.film import film
from mutualvideo.play.frame_film import FrameFilm
from mutualvideo.play.player import PartSummary, Played, written_files
from mutualvideo.policy.budget_script import BudgetScript
from mutualvideo.runtime.recognizer import AdaptiveRecognizer
from mutualvideo.serving.frame_server import StreamAnswer
from mutualvideo.serving.run_streams import run_streams


def play_together(
    recognizer: AdaptiveRecognizer,
    sources: Sequence[Source],
    script: BudgetScript,
    output: StrPath,
    stride_s: float = 0.0,
    smooth_s: float = 0.0,
    seconds: float | None = None,
    stop: threading.Event | None = None,
) -> dict[str, Played]:
    """Recognises several sources frame by frame at the same time; each gets a film and a CSV.

    All share the budget, which the films show; what they show as spent is their own stream's
    part. Recordings are played at their own pace, and frames for which there was no time are left
    out and counted. The seconds of the script are those of the sources, which begin together.

    Args:
        recognizer: an ``AdaptiveRecognizer`` with ``mode="continual"``, whose rows have latencies.
        sources: as ``open_source`` gives them, opened, with names of their own.
        script, output, stride_s, smooth_s, seconds, stop: as for
            :func:`~mutualvideo.play.continual_player.play_frames`.

    Returns:
        ``{name: Played}``; a source that was lost says so, and the others go on. One of which
        there was nothing to answer has neither film nor CSV, and is not among them.

    Raises:
        InputError: if no source gave anything to answer, two have the same name, a budget cannot
            be met, or the folder cannot be written to.
    """
    check_times(stride_s, smooth_s, seconds)
    twice = [name for name, n in Counter(source.name for source in sources).items() if n > 1]
    if twice:
        raise InputError(f"source {twice[0]}: there are two of that name, whose films would be one")
    with ExitStack() as stack:
        filmed = {
            source.name: stack.enter_context(
                _Filmed(recognizer, source, script, output, stride_s, smooth_s)
            )
            for source in sources
        }
        found = run_streams(
            recognizer,
            [(source.name, source) for source in sources],
            lambda name, answer: filmed[name].take(answer),
            seconds=seconds,
            stop=stop,
            budget=script,
            shown=lambda name, time_s, frame: filmed[name].draw(time_s, frame),
        )
    return {
        name: Played(one.parts, one.mp4, one.table, one.frames, summary.dropped, summary.problem)
        for name, one in filmed.items()
        if one.frames and (summary := found[name]).answered
    }


class _Filmed:
    """The film and the CSV of one source; neither is there if it had no frame.

    Its frames are drawn by the thread that reads them, its answers come from the one that answers.
    """

    def __init__(
        self,
        recognizer: AdaptiveRecognizer,
        source: Source,
        script: BudgetScript,
        output: StrPath,
        stride_s: float,
        smooth_s: float,
    ) -> None:
        if recognizer.frames is None:
            raise InputError('give the recogniser mode="continual"')
        self.mp4, self.table = written_files(source, output)
        self.frames = 0
        self._new = recognizer, source, script.budgets, stride_s, smooth_s
        self._fps, self._script = source.fps, script
        self._lock, self._stack = threading.Lock(), ExitStack()

    def __enter__(self) -> _Filmed:
        with ExitStack() as stack:
            table = stack.enter_context(atomic_path(self.table))
            mp4 = stack.enter_context(atomic_path(self.mp4))
            self._writer = stack.enter_context(film(mp4, self._fps))
            file = stack.enter_context(open(table, "w", newline="", encoding="utf-8"))
            self._film = FrameFilm(*self._new, file)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        if not self.frames and error[0] is None:
            nothing = InputError("no frame")  # so that the files begun are taken away
            error = (type(nothing), nothing, None)
        self._stack.__exit__(*error)

    @property
    def parts(self) -> list[PartSummary]:
        return self._film.parts

    def take(self, answer: StreamAnswer) -> None:
        time_s = answer.time_s or 0.0
        entry = self._script.index(time_s)
        with self._lock:
            self._film.take(time_s, answer, entry, self._script.entries[entry][1])

    def draw(self, time_s: float, frame: np.ndarray) -> None:
        with self._lock:
            self._writer.write(self._film.draw(time_s, frame), time_s)
            self.frames += 1
