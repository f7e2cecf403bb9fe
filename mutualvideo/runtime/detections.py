"""What a detector answers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mutualvideo.subnet import Subnet
from mutualvideo.table.row import Row


@dataclass(frozen=True)
class Detections:
    """The objects that a detector found in a picture, those of the highest scores first.

    Args:
        boxes: float32 array (N, 4), x1 y1 x2 y2 in pixels of the picture that was given.
        labels: int64 array (N,), the places of their classes in ``class_names``.
        scores: float32 array (N,), from 0 to 1.
        names: their classes' names (N,), see ``class_names``.
        class_names: names of the classes by label, the background's at 0; where there are none,
            their numbers as text.
        row: the ``Row`` of the query table that answered.
        latency_ms: milliseconds from the picture, ready on the device, to boxes: bringing it to
            the sub-network's size and choosing boxes included.
        total_ms: milliseconds of the whole call, reading and copying the picture included.
        masks: bool array (N, H, W), the pixels of each object in the picture that was given; of
            detectors without masks ``None``.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    row: Row
    latency_ms: float
    total_ms: float
    masks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def subnet(self) -> Subnet:
        """Which sub-network answered."""
        return self.row.subnet

    @property
    def macs(self) -> int:
        """Multiply-adds of a picture, as the table has them for the size that it states."""
        return self.row.macs

    def above(self, threshold: float = 0.5) -> Detections:
        """Those whose score is ``threshold`` or more; maybe none."""
        keep = np.flatnonzero(self.scores >= threshold)
        return replace(
            self,
            boxes=self.boxes[keep],
            labels=self.labels[keep],
            scores=self.scores[keep],
            names=tuple(self.names[n] for n in keep),
            masks=None if self.masks is None else self.masks[keep],
        )
