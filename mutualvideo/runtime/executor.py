"""Runs the rows of a query table on a backend: what recognisers, services and streams share."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from mutualvideo.backends import Backend, Runner, featuring_backends
from mutualvideo.errors import InputError
from mutualvideo.runtime.cascading import CascadeRunner
from mutualvideo.runtime.deployed import is_folder, locate, open_folder
from mutualvideo.runtime.prediction import Prediction
from mutualvideo.runtime.prepared import PreparedRunners
from mutualvideo.runtime.preprocess import Preprocessing, as_clips, prepare
from mutualvideo.runtime.recorded import is_path, read_views
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable


class Executor:
    """A backend with the rows that it may run, and the clips that these take.

    It knows no budget: whoever asks names the sub-network. Any number of threads may call.

    Args:
        backend: :class:`~mutualvideo.backends.Backend`.
        table: ``QueryTable``, whose metadata may name the classes (``classes``).
        cfg: configuration; its ``DATA`` section and ``MODEL.NUM_CLASSES`` are read.
        cache_mib: prepared sub-networks that are not in use are let go beyond this many MiB.

    Attributes:
        backend, table, cfg: as given.
        preprocessing: the :class:`~mutualvideo.runtime.preprocess.Preprocessing` of clips.
        runners: the :class:`~mutualvideo.runtime.prepared.PreparedRunners`.
        segments: whether clips of a file are one frame out of each segment of the whole video, as
            the table's metadata say (``segments``).
        class_names: names of the classes in their order; without names, their numbers.

    Raises:
        InputError: if the names of the classes do not fit the network.
    """

    def __init__(
        self, backend: Backend, table: QueryTable, cfg: Any, cache_mib: float = 512
    ) -> None:
        self.backend, self.table, self.cfg = backend, table, cfg
        backend.several_labels = bool(getattr(cfg.DATA, "MULTI_LABEL", False))
        self.preprocessing = Preprocessing.of(cfg)
        self.runners = PreparedRunners(backend, cache_mib)
        self.segments = bool(table.metadata.get("segments"))
        self.class_names = names_of_classes(table.metadata.get("classes"), cfg.MODEL.NUM_CLASSES)

    @classmethod
    def open(
        cls,
        checkpoint: Any,
        table: QueryTable | str | os.PathLike[str] | None = None,
        device: str | None = None,
        backend: str | None = None,
        cfg: Any = None,
        precision: str = "fp32",
        cache_mib: float = 512,
        threads: int | None = None,
    ) -> Executor:
        """Opens a run, a checkpoint, an exported folder or a network that lies in memory.

        The arguments and errors are those of
        :class:`~mutualvideo.runtime.recognizer.AdaptiveRecognizer`.
        """
        if is_path(checkpoint) and not os.path.exists(checkpoint):
            raise InputError(
                f"{os.fspath(checkpoint)}: no such file or folder: name the OUTPUT_DIR of a run, "
                "an exported folder or a checkpoint file"
            )
        if is_folder(checkpoint):
            checkpoint, table = locate(checkpoint, table=table)
        if is_folder(checkpoint):
            how = device, backend, precision, threads
            opened, cfg, table = open_folder(checkpoint, table, *how)
            return cls(opened, table, cfg, cache_mib)
        # Imported here, so that exported sub-networks run without torch.
        from mutualvideo.runtime.from_checkpoint import open_network

        if table is None:
            raise InputError("recognizer: give the query table of the checkpoint")
        table = table if isinstance(table, QueryTable) else QueryTable.load_json(table)
        _refuse_detectors(table)
        backend = backend or "torch"
        opened, cfg = open_network(checkpoint, table, device, backend, cfg, precision, threads)
        return cls(opened, table, cfg, cache_mib)

    def check(self, subnet: Subnet | str) -> Subnet:
        """``subnet``, if it can answer.

        Raises:
            InputError: if it is not in the table or was never calibrated.
        """
        subnet = self.table[subnet].subnet
        self.backend.check(subnet)
        return subnet

    def check_features(self) -> None:
        """Raises InputError, naming those that do, if the backend gives no features."""
        # One that others wrote may not know the attribute.
        if not getattr(self.backend, "gives_features", False):
            raise InputError(
                f"backend {self.backend.name!r}: gives no features: open the run or checkpoint "
                f"with backend {', '.join(featuring_backends())}"
            )

    def clips(self, clip: Any) -> list[np.ndarray]:
        """What :func:`~mutualvideo.runtime.preprocess.as_clips` makes of it for this network.

        Of the path of a file, the clip in the middle, as evaluation takes it.
        """
        if is_path(clip):
            clip = read_views(clip, self.cfg, segments=self.segments)
        return as_clips(clip, pictures=self.preprocessing.num_frames is None)

    def predict(
        self,
        runner: Runner,
        clips: Sequence[np.ndarray],
        features: bool = False,
        read_s: float = 0.0,
    ) -> Prediction:
        """Answers clips with one sub-network.

        Args:
            runner: of that sub-network, from :attr:`runners`.
            clips: uint8 arrays (T, H, W, 3), see :meth:`clips`.
            features: whether the clips' features are given too.
            read_s: seconds that reading them took, which ``total_ms`` counts.

        Raises:
            InputError: see :meth:`check_features`.
        """
        if features:
            self.check_features()
        begin_s = time.perf_counter()
        batch = self._batch(clips, runner)
        ready_s = time.perf_counter()
        scores, found = runner.with_features(batch) if features else (runner(batch), None)
        end_s = time.perf_counter()
        return self.prediction(
            scores,
            runner.subnet,
            features=found,
            latency_ms=(end_s - ready_s) * 1000,
            total_ms=(end_s - begin_s + read_s) * 1000,
        )

    def predict_cascade(
        self, cascade: CascadeRunner, clips: Sequence[np.ndarray], read_s: float = 0.0
    ) -> Prediction:
        """Answers clips with a cascade, whose stages are prepared where they are not yet."""
        begin_s, in_network_s = time.perf_counter(), 0.0

        def answer(subnet: Subnet, index: np.ndarray) -> np.ndarray:
            nonlocal in_network_s
            runner = self.runners.get(subnet)
            batch = self._batch([clips[i] for i in index], runner)
            ready_s = time.perf_counter()
            scores = runner(batch)
            in_network_s += time.perf_counter() - ready_s
            return scores

        found = cascade.run(answer, len(clips))
        end_s = time.perf_counter()
        stages = cascade.cascade.stages
        last = stages[max(stages.index(subnet) for subnet in found.subnets)]
        return self.prediction(
            found.scores,
            last,
            macs=round(found.macs.mean()),
            subnets=found.subnets,
            latency_ms=in_network_s * 1000,
            total_ms=(end_s - begin_s + read_s) * 1000,
        )

    def prediction(
        self,
        scores: np.ndarray,
        subnet: Subnet,
        *,
        latency_ms: float,
        total_ms: float,
        macs: int | None = None,
        subnets: tuple[Subnet, ...] = (),
        features: np.ndarray | None = None,
    ) -> Prediction:
        """The :class:`~mutualvideo.runtime.prediction.Prediction` for scores (B, classes).

        The multiply-adds are the table's, unless ``macs`` says otherwise.
        """
        return Prediction(
            scores=scores,
            labels=tuple(self.class_names[i] for i in scores.argmax(1)),
            subnet=subnet,
            macs=self.table[subnet].macs if macs is None else macs,
            latency_ms=latency_ms,
            total_ms=total_ms,
            class_names=self.class_names,
            subnets=subnets,
            features=features,
        )

    def _batch(self, clips: Sequence[np.ndarray], runner: Runner) -> np.ndarray:
        return np.stack([prepare(clip, self.preprocessing, *runner.shape) for clip in clips])


def names_of_classes(names: Any, count: int, origin: str = "query table") -> tuple[str, ...]:
    """The names of ``count`` classes by label; where ``names`` is ``None``, their numbers.

    Raises:
        InputError: naming ``origin``, if they are not a list of so many.
    """
    if names is None:
        return tuple(str(i) for i in range(count))
    if not isinstance(names, list) or len(names) != count:
        given = len(names) if isinstance(names, list) else repr(names)
        raise InputError(f"{origin}: classes must be a list of {count} names, got {given}")
    return tuple(str(name) for name in names)


def _refuse_detectors(table: QueryTable) -> None:
    found = next((row for row in table if row.box_ap is not None), None)
    if found is not None:
        raise InputError(
            f"query table: row {found.subnet} has a detector's box AP; AdaptiveDetector, "
            "`mutualvideo detect`, opens it"
        )
