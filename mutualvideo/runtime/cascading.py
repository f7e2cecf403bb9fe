"""Runs a confidence cascade: asks dearer sub-networks only about the clips still unsure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mutualvideo.errors import InputError
from mutualvideo.subnet import Subnet
from mutualvideo.table.cascade import Cascade, confidence, run_macs
from mutualvideo.table.query import QueryTable


@dataclass(frozen=True)
class CascadeAnswer:
    """The answer to a batch of clips.

    Args:
        scores: float array (clips, classes), softmax, of the stage that answered each clip.
        subnets: which sub-network that was, one per clip.
        macs: float64 array (clips,), multiply-adds of all stages that ran on each clip.
    """

    scores: np.ndarray
    subnets: tuple[Subnet, ...]
    macs: np.ndarray


class CascadeRunner:
    """A cascade at work, and what it has cost so far. Any number of threads may call.

    Args:
        cascade: a ``Cascade``, from ``CascadeCurve.best`` for instance.
        table: the ``QueryTable`` with its sub-networks' costs.

    Attributes:
        cascade: the cascade.
        answered: int64 array (stages,), how many clips each stage has answered.

    Raises:
        InputError: if a stage is not in the table.
    """

    def __init__(self, cascade: Cascade, table: QueryTable) -> None:
        self.cascade = cascade
        self._macs = [table[stage].macs for stage in cascade.stages]
        self.answered = np.zeros(len(cascade.stages), np.int64)
        self._lock = threading.Lock()

    @property
    def average_macs(self) -> float:
        """Multiply-adds of a clip on average since the start; 0.0 before the first.

        Videos unlike the validation videos may cost more than ``CascadePoint.avg_macs`` said.
        """
        return float(self.answered @ np.cumsum(self._macs) / max(1, self.answered.sum()))

    def run(
        self, predict: Callable[[Subnet, np.ndarray], np.ndarray], clips: int = 1
    ) -> CascadeAnswer:
        """Answers a batch of clips.

        Args:
            predict: ``predict(subnet, index) -> scores``: softmax scores (len(index),
                classes) of the clips numbered ``index``, an int64 array, by ``subnet``.
                Called for at most every stage, with fewer and fewer clips.
            clips: how many clips there are.

        Returns:
            A :class:`CascadeAnswer`.

        Raises:
            InputError: if ``predict`` returns another number of clips than asked for.
        """
        open_clips, stage_of, scores = np.arange(clips), np.zeros(clips, np.int64), None
        for stage, subnet in enumerate(self.cascade.stages):
            answer = np.asarray(predict(subnet, open_clips))
            if answer.ndim != 2 or len(answer) != len(open_clips):
                raise InputError(
                    f"cascade: {subnet} was asked about {len(open_clips)} clips, its scores "
                    f"have shape {answer.shape}"
                )
            scores = np.empty((clips, answer.shape[1]), answer.dtype) if scores is None else scores
            scores[open_clips], stage_of[open_clips] = answer, stage
            if stage < len(self.cascade.thresholds):
                open_clips = open_clips[confidence(answer) < self.cascade.thresholds[stage]]
            if not len(open_clips):
                break
        with self._lock:
            self.answered += np.bincount(stage_of, minlength=len(self._macs))
        subnets = tuple(self.cascade.stages[stage] for stage in stage_of)
        assert scores is not None  # there is a first stage
        return CascadeAnswer(scores, subnets, run_macs(self._macs, stage_of))
