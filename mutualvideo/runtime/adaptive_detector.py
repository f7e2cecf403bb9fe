"""One detector, one table, any budget."""

from __future__ import annotations

import copy
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from mutualvideo.backends.common.forking import survives_fork
from mutualvideo.backends.common.over_network import torch_device
from mutualvideo.budget import Budget
from mutualvideo.detection.coco_scores import MASK_THRESHOLD
from mutualvideo.detection.detector import class_count, slimmed_part
from mutualvideo.errors import InputError
from mutualvideo.files import StrPath
from mutualvideo.media.picture_reader import PictureReader
from mutualvideo.models import load_model
from mutualvideo.policy.controller import Controller
from mutualvideo.runtime.detections import Detections
from mutualvideo.runtime.executor import names_of_classes
from mutualvideo.runtime.from_checkpoint import check_fingerprint, check_row
from mutualvideo.runtime.preprocess import as_clips
from mutualvideo.runtime.recorded import is_path
from mutualvideo.slim import load_statistics, require_calibrated, set_subnet, set_width, slim_state
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable, Row


class AdaptiveDetector:
    """A trained slimmable detector that answers within a budget.

    What :class:`~mutualvideo.runtime.recognizer.AdaptiveRecognizer` is to classifiers. The network
    runs in place: there is one copy of the weights and switching the sub-network copies nothing.
    Any number of threads may call, and take turns. Under a budget in milliseconds or pictures a
    second it watches its own latency and moves along the Pareto rows, see
    :class:`~mutualvideo.policy.controller.Controller`.

    Args:
        model: a slimmable detector (:func:`~mutualvideo.detection.slimmable_detector`); it is put
            in eval mode and on ``device``, and is the recogniser's from then on.
        table: ``QueryTable`` of :func:`~mutualvideo.detection.detector_table`, or the path of one
            in JSON.
        statistics: BatchNorm statistics of the rows, as ``get_statistics`` gives them, or the
            path of a file of them. ``None``: the file that the table's metadata names
            (``statistics``), else those that ``model`` carries.
        class_names: names by label, the background's at 0; ``None``: those of the table's
            metadata (``classes``).
        device: ``"cpu"``, ``"cuda"``...; ``None``: CUDA where there is one, else the CPU.

    Attributes:
        table: the query table; its rows are what budgets choose from.
        class_names: names of the classes by label; where there is none, the number as text.
        device: the ``torch.device``.

    Raises:
        InputError: if ``model`` is no slimmable detector, a file cannot be read, or model, table,
            statistics and names do not belong together.
    """

    def __init__(
        self,
        model: nn.Module,
        table: QueryTable | StrPath,
        statistics: dict[str, Any] | StrPath | None = None,
        class_names: Sequence[str] | None = None,
        device: str | None = None,
    ) -> None:
        slimmed_part(model)
        self.table = table if isinstance(table, QueryTable) else QueryTable.load_json(table)
        _check_table(model, self.table)
        if class_names is None:
            names = names_of_classes(self.table.metadata.get("classes"), class_count(model))
        else:
            names = names_of_classes(list(class_names), class_count(model), "detector")
        self.class_names = tuple(name or str(label) for label, name in enumerate(names))
        self.device = torch_device(device)
        self._model = model.to(self.device).eval()
        if statistics is None:
            statistics = self.table.path_of("statistics")
        if statistics is not None:
            load_statistics(model, statistics)
        self._controller = Controller(self.table)
        self._budget: Budget | None = None
        self.after_fork()
        survives_fork(self)

    @classmethod
    def from_run(cls, folder: StrPath, device: str | None = None) -> AdaptiveDetector:
        """What ``mutualvideo train`` or ``evaluate`` left in OUTPUT_DIR, ready to answer.

        Args:
            folder: OUTPUT_DIR, with ``query_table.json``; the table names checkpoint and
                statistics.
            device: see above.

        Raises:
            InputError: if a file is missing or cannot be read, or they do not belong together.
        """
        table = QueryTable.load_json(os.path.join(folder, "query_table.json"))
        _refuse_classifiers(table, f"{os.fspath(folder)}: its query table")
        path = table.path_of("checkpoint")
        if path is None:
            raise InputError(
                f"{os.fspath(folder)}: its query table names no checkpoint; give AdaptiveDetector "
                "the detector itself"
            )
        check_fingerprint(path, table)
        model, _ = load_model(path)
        slimmed_part(model)
        return cls(model, table, device=device)

    def __repr__(self) -> str:
        row = self.current
        what = "no budget yet" if row is None else f"answers as {row.subnet}"
        name = type(self._model).__name__
        return f"<AdaptiveDetector {name}: {len(self.table)} rows, on {self.device}, {what}>"

    @property
    def model(self) -> nn.Module:
        """The slimmable detector; while another thread predicts, its sub-network may change."""
        return self._model

    def after_fork(self) -> None:
        """Makes the locks anew, in a process that was forked from this one."""
        # Of budgets and what is learnt from answers; never held while the network runs.
        self._lock = threading.RLock()
        # Of the network, which is one sub-network at a time.
        self._turn = threading.Lock()

    @property
    def current(self) -> Row | None:
        """The ``Row`` that answers next, or ``None`` before the first budget."""
        return self._controller.row

    @property
    def late(self) -> bool:
        """Whether even the cheapest row is expected to take longer than the budget allows."""
        return self._controller.late

    def set_budget(
        self,
        budget: Budget | str | float | None = None,
        *,
        macs: float | None = None,
        ms: float | None = None,
        fps: float | None = None,
    ) -> Row:
        """Switches to the best sub-network within a budget.

        Args:
            budget: a :class:`~mutualvideo.budget.Budget` or its text, ``"1.2G"``; or
            macs: multiply-adds of one picture, of the size that the table states, or
            ms: milliseconds of one picture in the detector, or
            fps: pictures answered a second, reading and copying included.

        Returns:
            The ``Row`` switched to. Under ``ms`` and ``fps`` it follows the latency observed.

        Raises:
            InputError: if not exactly one budget is given, if it is below the cheapest
                sub-network, or if one that may be switched to under it was never calibrated;
                nothing is switched.
        """
        given = Budget.of(budget, macs=macs, ms=ms, fps=fps)
        return self._begin(lambda new: new.set_budget(given), given)

    def switch(self, subnet: Subnet | str) -> Row:
        """Switches to a sub-network of the table, until the next budget; returns its ``Row``.

        Raises:
            InputError: if it is not in the table or was never calibrated.
        """
        return self._begin(lambda new: new.hold(subnet), None)

    def _begin(self, decide: Callable[[Controller], Row], budget: Budget | None) -> Row:
        with self._lock:
            # A copy, so that whatever is refused leaves everything as it was.
            new = copy.copy(self._controller)
            row = decide(new)
            for possible in new.ladder:
                self._check(possible)
            self._controller, self._budget = new, budget
        return row

    def _check(self, row: Row) -> None:
        require_calibrated(
            self._model, row.subnet, "detector", "calibrate_detector() it, or give its statistics"
        )

    def predict(
        self,
        image: Any,
        budget: Budget | str | float | None = None,
        subnet: Subnet | str | None = None,
    ) -> Detections:
        """Finds the objects in a picture.

        Args:
            image: uint8 tensor or array, RGB, (H, W, 3) or (3, H, W), of any size, or the path
                of a picture.
            budget: is set first if it differs from the one that holds, see :meth:`set_budget`, and
                holds from then on.
            subnet: answers as this one of the table instead; the budget stays.

        Returns:
            :class:`~mutualvideo.runtime.detections.Detections`, with as many objects as the
            detector's own limits on score and number let through.

        Raises:
            InputError: for another dtype or shape, a file that cannot be read, what
                :meth:`set_budget` refuses, or if no budget was set yet.
        """
        if budget is not None and subnet is not None:
            raise InputError("detector: give budget=... or subnet=..., not both")
        begin_s = time.perf_counter()
        pixels = _one_picture(image)
        if subnet is not None:
            row = self.table[subnet]
            self._check(row)
        else:
            row = self._row_for(budget)
        answer, latency_ms = self._run(row, pixels)
        labels, masks = answer["labels"], answer.get("masks")
        total_ms = 1000 * (time.perf_counter() - begin_s)
        if subnet is None:
            with self._lock:
                self._controller.observe(row.subnet, latency_ms, total_ms - latency_ms)
        return Detections(
            boxes=answer["boxes"],
            labels=labels,
            scores=answer["scores"],
            names=tuple(self.class_names[label] for label in labels),
            class_names=self.class_names,
            row=row,
            latency_ms=latency_ms,
            total_ms=total_ms,
            masks=None if masks is None else masks[:, 0] >= MASK_THRESHOLD,
        )

    def _row_for(self, budget: Budget | str | float | None) -> Row:
        with self._lock:
            if budget is not None and Budget.of(budget) != self._budget:
                self.set_budget(budget)
            row = self._controller.row
        if row is None:
            raise InputError("detector: call set_budget(...) or give predict() a budget=... first")
        return row

    def _run(self, row: Row, pixels: np.ndarray) -> tuple[dict[str, np.ndarray], float]:
        with self._turn, torch.inference_mode():
            if slim_state(self._model).subnet != row.subnet:
                set_subnet(self._model, row.subnet)
            picture = torch.from_numpy(pixels).to(self.device).permute(2, 0, 1).float() / 255
            start_s = time.perf_counter()
            (found,) = self._model([picture])
            # The copy waits for the device.
            answer = {name: tensor.cpu().numpy() for name, tensor in found.items()}
            return answer, 1000 * (time.perf_counter() - start_s)


def _one_picture(image: Any) -> np.ndarray:
    """uint8 (H, W, 3) with memory of its own, since torch wants it writable."""
    if is_path(image):
        if os.path.isdir(image):
            raise InputError(f"{os.fspath(image)}: is a folder, expected a picture")
        with PictureReader(image) as reader:
            image = reader.read([0])
    pictures = as_clips(image, pictures=True)
    if len(pictures) != 1:
        raise InputError(f"image: expected one picture, got {len(pictures)}: give each by itself")
    return np.array(pictures[0][0])


def _check_table(model: nn.Module, table: QueryTable) -> None:
    if not len(table):
        raise InputError("the query table has no rows")
    _refuse_classifiers(table, "query table")
    for row in table:
        check_row(model, row)
    set_width(model, slim_state(model).width_range[1])


def _refuse_classifiers(table: QueryTable, what: str) -> None:
    found = next((row for row in table if row.box_ap is None and row.merit is not None), None)
    if found is not None:
        raise InputError(
            f"{what}: row {found.subnet} has a classifier's accuracy and no box AP; "
            "AdaptiveRecognizer, `mutualvideo predict`, opens it"
        )
