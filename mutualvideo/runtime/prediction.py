"""What a recogniser answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mutualvideo.subnet import Subnet


@dataclass(frozen=True)
class Prediction:
    """The answer to a batch of clips.

    Args:
        scores: float32 array (B, classes), softmax: each row sums to 1. Of a network whose videos
            have several labels (DATA.MULTI_LABEL) the sigmoid: the probability of each class.
        labels: the most likely class of each clip, its name or else its index as text.
        subnet: which sub-network answered; of a cascade, the last one that was asked.
        macs: multiply-adds of one clip; of a cascade, of all that was run, on average over
            the clips.
        latency_ms: milliseconds from the sub-network's input to the scores, for all B clips:
            what the table measures.
        total_ms: milliseconds of the whole call, making that input included.
        class_names: names of the classes in the order of ``scores``.
        subnets: which sub-network answered each clip (B,); they differ in cascades only.
        features: float32 array (B, D), where they were asked for: what enters the classifier's
            last linear layer, after pooling; D is the number of channels active at the
            sub-network's width. Those of different sub-networks cannot be compared.
    """

    scores: np.ndarray
    labels: tuple[str, ...]
    subnet: Subnet
    macs: int
    latency_ms: float
    total_ms: float
    class_names: tuple[str, ...]
    subnets: tuple[Subnet, ...] = ()
    features: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not self.subnets:
            object.__setattr__(self, "subnets", (self.subnet,) * len(self.scores))

    def top(self, count: int, index: int = 0) -> list[tuple[str, float]]:
        """The ``count`` most likely classes of clip ``index``: ``[(label, score), ...]``."""
        return top_scores(self.scores[index], self.class_names, count)

    def above(self, threshold: float = 0.5, index: int = 0) -> list[tuple[str, float]]:
        """Classes of clip ``index`` whose score is ``threshold`` or more: ``[(label, score)]``.

        What a video with several labels shows; best first, and maybe nothing.
        """
        found = self.top(len(self.class_names), index)
        return [(label, score) for label, score in found if score >= threshold]


def top_scores(
    scores: np.ndarray, class_names: Sequence[str], count: int
) -> list[tuple[str, float]]:
    """The ``count`` highest of ``scores`` (classes,), best first: ``[(label, score), ...]``."""
    order = np.argsort(-scores, kind="stable")[:count]
    return [(class_names[i], float(scores[i])) for i in order]
