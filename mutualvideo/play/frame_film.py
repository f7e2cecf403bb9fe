"""What a stream in continual form leaves: an annotated film, a CSV, and what adds up."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Sequence
from typing import Any, TextIO

import numpy as np

from mutualvideo.budget import Budget
from mutualvideo.media.source import Source
from mutualvideo.play.overlay import Overlay, Status
from mutualvideo.play.player import TOP, Part, PartSummary
from mutualvideo.runtime.clip_window import Smoother
from mutualvideo.runtime.continual_recognizer import FramePrediction
from mutualvideo.runtime.prediction import top_scores
from mutualvideo.runtime.recognizer import AdaptiveRecognizer
from mutualvideo.subnet import Subnet

_EPSILON_S = 1e-6


class FrameFilm:
    """Takes in the answers of one stream and draws its frames with the answer known by then.

    Args:
        recognizer: an ``AdaptiveRecognizer`` with ``mode="continual"``.
        source: what is filmed.
        budgets: all that may hold: they give the scale.
        stride_s: answers are shown and written at least so many seconds apart; 0: all.
        smooth_s: time constant of the average of the scores; 0: every answer for itself.
        table: the CSV, open for writing with ``newline=""``.
    """

    def __init__(
        self,
        recognizer: AdaptiveRecognizer,
        source: Source,
        budgets: Sequence[Budget],
        stride_s: float,
        smooth_s: float,
        table: TextIO,
    ) -> None:
        assert recognizer.frames is not None  # of those who call, each has refused that
        self._source, self._frame_s = source, recognizer.frames.frame_s
        dearest = max(row.cost("macs_per_s") or 0.0 for row in recognizer.frames.rows)
        limits = [budget.value for budget in budgets if budget.unit == "macs_per_s"]
        self._highest = 1.1 * min(max(limits, default=dearest), 1.5 * dearest)
        self._stride_s, self._smooth = stride_s, Smoother(smooth_s)
        self._lines = csv.writer(table)
        ranks = range(1, min(TOP, len(recognizer.class_names)) + 1)
        self._lines.writerow(
            ["time_s", "subnet", "macs", "latency_ms", "budget", "warming_up", "filling"]
            + [f"{name}{rank}" for rank in ranks for name in ("top", "score")]
        )
        self._shown_s = -float("inf")
        # Who answered last.
        self._answered: Subnet | None = None
        self._overlay: Overlay | None = None
        # (seconds, what is known from then on) that is not drawn yet.
        self._news: deque[tuple[float, Status]] = deque()
        # (seconds, multiply-adds) of the last second.
        self._spent: deque[tuple[float, int]] = deque()
        self._parts: dict[Any, Part] = {}

    @property
    def parts(self) -> list[PartSummary]:
        """Of each budget under which something was recognised, in their order."""
        return [part.summary() for _, part in sorted(self._parts.items())]

    def take(self, time_s: float, found: FramePrediction, entry: int, budget: Budget) -> None:
        """Takes in an answer.

        Args:
            time_s: of the frame that it came after, in the source.
            found: the answer.
            entry: number of the budget that holds.
            budget: that one.
        """
        part = self._parts.setdefault(entry, Part(str(budget)))
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
        name = f"{found.subnet} warming up" if found.warming_up else str(found.subnet)
        # In the first second there is less than a second to add up.
        spent = sum(macs for _, macs in self._spent) / min(1.0, time_s + self._frame_s)
        status = Status(name, round(spent), found.latency_ms, budget, answers, "/s")
        self._news.append((time_s, status))

    def draw(self, time_s: float, frame: np.ndarray) -> np.ndarray:
        """A frame of the film, uint8 (H', W', 3)."""
        if self._overlay is None:
            height, width = frame.shape[:2]
            length_s = self._source.duration_s
            self._overlay = Overlay(height, width, "macs_per_s", self._highest, length_s)
        while self._news:
            self._overlay.update(*self._news.popleft())
        return self._overlay.draw(time_s, frame)
