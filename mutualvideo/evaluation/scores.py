"""From answers on views to what is said of videos, and how often it is right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mutualvideo.subnet import Subnet

BEST = 5  # classes that count for top-5


@dataclass(frozen=True)
class Accuracy:
    """How often one sub-network is right.

    Attributes:
        top1, top5: percent of videos whose label has the highest score, or is among the five
            highest; the score is the mean of the softmax over the views of a video.
        clip_top1, clip_top5: percent of the views of these videos, each judged by itself.
    """

    top1: float
    top5: float
    clip_top1: float
    clip_top5: float


@dataclass(frozen=True)
class Predictions:
    """What one sub-network says of every video; V videos, K the five best classes, or all.

    Attributes:
        rows: int64 (V,), rows of the list, ascending.
        labels: int64 (V,).
        classes: int32 (V, K), best first.
        scores: float32 (V, K), theirs: mean over the views of the softmax.
        clip_hits: int64 (V, 2): views whose label is the best class, and is among the best K.
        sure: float32 (V, views): the highest score of each view.
        right: bool (V, views): whether it is the label's.
    """

    rows: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    clip_hits: np.ndarray
    sure: np.ndarray
    right: np.ndarray

    def accuracy(self, num_views: int) -> Accuracy:
        """:class:`Accuracy` of at least one video of ``num_views`` views."""
        hits = self.classes == self.labels[:, None]
        shares = (hits[:, 0].mean(), hits.any(1).mean(), *(self.clip_hits.mean(0) / num_views))
        return Accuracy(*(100 * float(share) for share in shares))


@dataclass(frozen=True)
class Missing:
    """A video that was not evaluated: what the list calls it, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found; the same in every process but for ``predictions``.

    Attributes:
        accuracies: ``{subnet: Accuracy}``, over the videos that were evaluated.
        videos: how many these are.
        expected: how many the list holds.
        missing: the others, as tuple of :class:`Missing`, in the order of the list.
        predictions: ``{subnet: Predictions}`` in the main process, empty in the others.
    """

    accuracies: dict[Subnet, Accuracy]
    videos: int
    expected: int
    missing: tuple[Missing, ...]
    predictions: dict[Subnet, Predictions]

    def account(self, origin: str = "the list") -> str:
        """``"evaluated 35 of 36 videos of val.csv; a.mp4: the reason"``, one line."""
        text = f"evaluated {self.videos} of {self.expected} videos of {origin}"
        if self.missing:
            text += f"; {self.missing[0].name}: {self.missing[0].reason}"
        more = len(self.missing) - 1
        return f"{text} (and {more} more)" if more > 0 else text


class Tally:
    """Adds up the answers of several sub-networks on the views of one process's videos.

    A video is judged when its last view has come, so scores of all classes are held for the
    videos under way alone, not for the whole list.

    Args:
        num_views: views of every video.
    """

    def __init__(self, num_views: int) -> None:
        self._num_views = num_views
        self._open: dict[
            int, dict[int, torch.Tensor]
        ] = {}  # row -> {view: (N, classes + 3) scores, hits and the highest score}
        self._labels: dict[int, int] = {}  # row -> label of a video that was judged
        self._judged: list[tuple[torch.Tensor, ...]] = []

    def add(self, batch: dict[str, torch.Tensor], answers: torch.Tensor) -> None:
        """One batch of views.

        Args:
            batch: ``video``, ``view`` and ``label``, int64 (B,) each, on the CPU.
            answers: float32 (N, B, classes), the softmax of each of N sub-networks.

        Raises:
            RuntimeError: if a view comes twice: the video would count twice.
        """
        labels = batch["label"].to(answers.device)
        hits = answers.topk(min(BEST, answers.shape[2]), dim=2).indices == labels[:, None]
        more = torch.stack([hits[..., 0], hits.any(2), answers.amax(2)], 2)
        parts = torch.cat([answers, more.to(answers.dtype)], 2).unbind(1)
        keys = zip(*(batch[key].tolist() for key in ("video", "view", "label")), strict=True)
        complete = []
        for (row, view, label), part in zip(keys, parts, strict=True):
            views = self._open.setdefault(row, {})
            if view in views or row in self._labels:
                raise RuntimeError(f"evaluation: view {view} of video {row} came twice")
            views[view] = part
            if len(views) == self._num_views:
                self._labels[row] = label
                del self._open[row]
                complete.append(torch.stack([views[view] for view in sorted(views)], 1))
        if complete:
            self._judge(torch.stack(complete, 1))

    def _judge(self, parts: torch.Tensor) -> None:
        """``parts``: (N, videos, views, classes + 3)."""
        # One after the other: the sum does not depend on how many videos end in a batch.
        total: torch.Tensor = sum(parts.unbind(2))  # type: ignore[assignment]
        scores, hits = total[..., :-3] / self._num_views, total[..., -3:-1]
        best = scores.topk(min(BEST, scores.shape[2]), dim=2)
        # Left on the device, so that it need not be waited for.
        found = best.indices.int(), best.values, hits, parts[..., -1], parts[..., -3].bool()
        self._judged.append(found)

    def state(self) -> dict[str, Any]:
        """All of it, on the CPU, as :meth:`load_state` and ``torch.load`` take it."""
        joined = [torch.cat(parts, 1).cpu() for parts in zip(*self._judged, strict=True)]
        views = {row: {v: p.cpu() for v, p in views.items()} for row, views in self._open.items()}
        return {"open": views, "labels": dict(self._labels), "judged": joined}

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        """Goes on from a :meth:`state`."""
        self._labels = dict(state["labels"])
        self._judged = [tuple(part.to(device) for part in state["judged"])] if self._labels else []
        self._open = {
            row: {view: part.to(device) for view, part in views.items()}
            for row, views in state["open"].items()
        }

    def incomplete(self) -> dict[int, str]:
        """``{row: reason}`` of the videos of which some views came, but not all."""
        return {
            row: f"{len(views)} of its {self._num_views} views came"
            for row, views in self._open.items()
        }

    def result(self) -> tuple[np.ndarray, ...] | None:
        """(rows, labels, classes (N, V, K), scores (N, V, K), clip hits (N, V, 2), sure and
        right (N, V, views)) in numpy.

        ``None`` if no video was judged. Ready to be sent to another process.
        """
        if not self._judged:
            return None
        classes, scores, hits, *views = (
            torch.cat(parts, 1).cpu().numpy() for parts in zip(*self._judged, strict=True)
        )
        rows = np.array(list(self._labels), dtype=np.int64)
        labels = np.array(list(self._labels.values()), dtype=np.int64)
        return rows, labels, classes, scores, hits.astype(np.int64), *views


def merge(
    results: Iterable[tuple[np.ndarray, ...] | None], subnets: Sequence[Subnet]
) -> dict[Subnet, Predictions]:
    """``{subnet: Predictions}`` from what :meth:`Tally.result` gave in every process.

    Args:
        results: list of them.
        subnets: in the order of the answers.

    Returns:
        The dict, empty if no process judged a video.

    Raises:
        RuntimeError: if a video was evaluated by two processes.
    """
    found = [result for result in results if result is not None]
    if not found:
        return {}
    rows, labels = (np.concatenate([result[part] for result in found]) for part in (0, 1))
    order = np.argsort(rows)
    rows, labels = rows[order], labels[order]
    if len(np.unique(rows)) != len(rows):
        raise RuntimeError("evaluation: two processes evaluated the same video")
    by_subnet = (
        np.concatenate([result[part] for result in found], 1)[:, order] for part in range(2, 7)
    )
    return {
        subnet: Predictions(rows, labels, *parts)
        for subnet, *parts in zip(subnets, *by_subnet, strict=True)
    }
