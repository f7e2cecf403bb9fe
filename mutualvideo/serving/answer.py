"""What callers that share a recogniser get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mutualvideo.errors import InputError, shown
from mutualvideo.runtime.executor import Executor
from mutualvideo.runtime.prediction import Prediction
from mutualvideo.runtime.recognizer import AdaptiveRecognizer
from mutualvideo.subnet import Subnet


class AnswerError(RuntimeError):
    """A sub-network, which the message names, failed to answer."""


@dataclass(frozen=True, kw_only=True)
class Answer(Prediction):
    """A ``Prediction`` for one clip among those of others.

    ``latency_ms`` is that of the batch the clip was in, ``total_ms`` counts from ``submit``.

    Args:
        wanted: the sub-network that should have answered.
        late: whether the answer came after its deadline.
        batch: how many clips were answered together.
    """

    wanted: Subnet
    late: bool
    batch: int

    @property
    def shed(self) -> bool:
        """Whether another sub-network than the wanted one answered."""
        return self.subnet != self.wanted


def executor_of(recognizer: AdaptiveRecognizer) -> Executor:
    """What runs the recogniser's rows of clips.

    Raises:
        InputError: if it is no recogniser, or one that takes frames.
    """
    executor = getattr(recognizer, "executor", None)
    if executor is None:
        raise InputError(
            f"expected an AdaptiveRecognizer, got {shown(recognizer)}: open it with "
            "AdaptiveRecognizer(...) first"
        )
    if getattr(recognizer, "frames", None) is not None:
        raise InputError(
            'this recogniser takes frames (mode="continual"), and clips are answered here: give '
            'one with mode="clip", or the frames of many streams to a FrameServer'
        )
    return executor


def make_answer(executor: Executor, subnet: Subnet, scores: np.ndarray, **fields: Any) -> Answer:
    """The :class:`Answer` that ``subnet`` gave.

    Args:
        executor: what ran it.
        subnet: who answered.
        scores: float32 (classes,).
        fields: the fields that do not follow from these.
    """
    names = executor.class_names
    return Answer(
        scores=scores[None],
        labels=(names[scores.argmax()],),
        subnet=subnet,
        macs=executor.table[subnet].macs,
        class_names=names,
        **fields,
    )


def answer_error(executor: Executor, subnet: Subnet, error: Exception) -> AnswerError:
    """The :class:`AnswerError` for whatever a runner raised."""
    reason = " ".join(str(error).split()) or type(error).__name__
    name = executor.backend.name
    failure = AnswerError(f"sub-network {subnet} failed on backend {name!r}: {reason}")
    failure.__cause__ = error
    return failure
