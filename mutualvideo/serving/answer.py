"""What those get who share a recogniser with others."""

from dataclasses import dataclass

from mutualvideo.runtime.prediction import Prediction
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
    def shed(self):
        """Whether another sub-network than the wanted one answered."""
        return self.subnet != self.wanted


def make_answer(recognizer, subnet, scores, **fields):
    """The :class:`Answer` that ``subnet`` gave.

    Args:
        recognizer: an ``AdaptiveRecognizer``.
        subnet: who answered.
        scores: float32 (classes,).
        fields: the fields that do not follow from these.
    """
    names = recognizer.class_names
    return Answer(
        scores=scores[None],
        labels=(names[scores.argmax()],),
        subnet=subnet,
        macs=recognizer.table[subnet].macs,
        class_names=names,
        **fields,
    )


def answer_error(recognizer, subnet, error):
    """The :class:`AnswerError` for whatever a runner raised."""
    reason = " ".join(str(error).split()) or type(error).__name__
    name = recognizer.backend.name
    failure = AnswerError(f"sub-network {subnet} failed on backend {name!r}: {reason}")
    failure.__cause__ = error
    return failure
