"""From answers on views to what is said of videos, and how often it is right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from mutualvideo.evaluation.average_precision import mean_average_precision
from mutualvideo.subnet import Subnet

BEST = 5  # classes that count for top-5


@dataclass(frozen=True)
class Accuracy:
    """How often one sub-network is right.

    Attributes:
        top1, top5: percent of videos whose label has the highest score, or is among the five
            highest; the score is the mean of the softmax over the views of a video. With several
            labels a video: whose highest score is of one of its labels, or one of the five highest.
        clip_top1, clip_top5: percent of the views of these videos, each judged by itself.
    """

    top1: float
    top5: float
    clip_top1: float
    clip_top5: float


@dataclass(frozen=True)
class Averages:
    """What is said beside :class:`Accuracy` of some lists, over classes.

    Attributes:
        mean_class: percent: the mean over classes of the share of a class's videos that are right;
            ``None`` where all classes have equally many videos, so that it is ``top1``, and with
            several labels.
        mean_ap: percent: mean average precision of several labels a video; else ``None``.
    """

    mean_class: float | None = None
    mean_ap: float | None = None


@dataclass(frozen=True)
class Predictions:
    """What one sub-network says of every video; V videos, K the five best classes, or all.

    Attributes:
        rows: int64 (V,), rows of the list, ascending.
        labels: int64 (V,); with several labels a video bool (V, classes).
        classes: int32 (V, K), best first; with several labels all of them.
        scores: float32 (V, K), theirs: mean over the views of the softmax (of the sigmoid with
            several labels), or their maximum.
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
        best = self.classes[:, :BEST]
        if self.labels.ndim == 1:
            hits = best == self.labels[:, None]
        else:
            hits = np.take_along_axis(self.labels, best.astype(np.int64), 1)
        shares = (hits[:, 0].mean(), hits.any(1).mean(), *(self.clip_hits.mean(0) / num_views))
        return Accuracy(*(100 * float(share) for share in shares))

    def averages(self) -> Averages:
        """:class:`Averages` over the classes."""
        if self.labels.ndim == 1:
            return Averages(mean_class=self._mean_class())
        mean_ap = mean_average_precision(self.labels, self.scores_by_class())
        return Averages(mean_ap=None if mean_ap is None else 100 * mean_ap)

    def scores_by_class(self) -> np.ndarray:
        """float32 (V, classes), where ``classes`` holds all of them."""
        found = np.empty_like(self.scores)
        np.put_along_axis(found, self.classes.astype(np.int64), self.scores, 1)
        return found

    def _mean_class(self) -> float | None:
        right = self.classes[:, 0] == self.labels
        _, which, counts = np.unique(self.labels, return_inverse=True, return_counts=True)
        if counts.min() == counts.max():
            return None
        return 100 * float((np.bincount(which, right) / counts).mean())


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
        averages: ``{subnet: Averages}``, over the same videos.
    """

    accuracies: dict[Subnet, Accuracy]
    videos: int
    expected: int
    missing: tuple[Missing, ...]
    predictions: dict[Subnet, Predictions]
    averages: dict[Subnet, Averages] = field(default_factory=dict)

    def merit(self, subnet: Subnet) -> float:
        """What sub-networks are compared by: mean average precision, or else top-1; percent."""
        mean_ap = self.averages[subnet].mean_ap
        return self.accuracies[subnet].top1 if mean_ap is None else mean_ap

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
        ensemble: how scores of views become one: ``sum`` (their mean) or ``max``.
    """

    def __init__(self, num_views: int, ensemble: str = "sum") -> None:
        self._num_views, self._ensemble = num_views, ensemble
        self._open: dict[
            int, dict[int, torch.Tensor]
        ] = {}  # row -> {view: (N, classes + 3) scores, hits and the highest score}
        # row -> label, or marks of the labels, of a video that was judged
        self._labels: dict[int, Any] = {}
        self._judged: list[tuple[torch.Tensor, ...]] = []

    def add(self, batch: dict[str, torch.Tensor], answers: torch.Tensor) -> None:
        """One batch of views.

        Args:
            batch: ``video``, ``view`` and ``label``, int64 (B,) each, on the CPU; ``label`` of
                several float32 (B, classes).
            answers: float32 (N, B, classes), the softmax of each of N sub-networks, or the sigmoid.

        Raises:
            RuntimeError: if a view comes twice: the video would count twice.
        """
        labels = batch["label"].to(answers.device)
        best = answers.topk(min(BEST, answers.shape[2]), dim=2).indices
        if labels.dim() == 1:
            hits = best == labels[:, None]
        else:
            hits = labels.bool().expand(len(answers), -1, -1).gather(2, best)
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
        if self._ensemble == "max":
            scores = parts[..., :-3].amax(2)
        # With several labels the ranking within every class counts, so all scores are kept.
        several = isinstance(next(iter(self._labels.values())), list)
        best = scores.topk(scores.shape[2] if several else min(BEST, scores.shape[2]), dim=2)
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
        labels = np.array(list(self._labels.values()))
        labels = labels.astype(np.int64 if labels.ndim == 1 else bool)
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
