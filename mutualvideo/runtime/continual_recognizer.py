"""A stream under a budget of multiply-adds a second: every frame is computed once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from mutualvideo.budget import Budget
from mutualvideo.data.sampling import seconds_apart
from mutualvideo.errors import InputError
from mutualvideo.runtime.executor import Executor
from mutualvideo.runtime.prediction import Prediction
from mutualvideo.runtime.prepared import CLOSED, PreparationError
from mutualvideo.runtime.preprocess import as_clips, prepare
from mutualvideo.runtime.stream_rows import stream_rows
from mutualvideo.subnet import Subnet
from mutualvideo.table.continual_table import ContinualRow, ContinualTable

if TYPE_CHECKING:
    from mutualvideo.continual import ContinualNetwork, FrameStream

# Those whose sub-networks take seconds to prepare, and the others.
_SLOW = ("openvino", "onnxruntime")
_BACKENDS = ("torch", "torch-extracted", *_SLOW)


@dataclass(frozen=True)
class FramePrediction(Prediction):
    """The answer after a frame of a stream; ``macs`` is what this frame took, all together.

    Args:
        warming_up: how many more frames of the sub-network's it takes until the answer is its
            own, see :class:`~mutualvideo.continual.FrameAnswer`; 0: it is.
        filling: how many more frames it takes until the sub-network switched to answers; 0: it
            does.
        fresh: whether the frame was computed, or left out as in the sub-network's clips.
        delay: how many frames of the sub-network's the answer lags behind.
    """

    warming_up: int = 0
    filling: int = 0
    fresh: bool = True
    delay: int = 0


class ContinualRecognizer:
    """Recognises one stream frame by frame. Any number of threads may call; they take turns.

    Args:
        executor: of the network; its backend is ``torch``, ``torch-extracted``, ``openvino`` or
            ``onnxruntime``.
        table: the rows in continual form, which run on the network's statistics; ``None``: the
            file that the query table names (``continual``), with the statistics beside it.
        filling: ``beside`` or ``at once``, see :class:`~mutualvideo.continual.FrameStream`.

    Attributes:
        rows: the :class:`~mutualvideo.table.continual_table.ContinualTable`.
        frame_s: seconds from one frame to the next that :meth:`predict` expects.

    Raises:
        InputError: for another backend, a network without a continual form, or without rows.
    """

    def __init__(
        self, executor: Executor, table: ContinualTable | None = None, filling: str = "beside"
    ) -> None:
        backend = executor.backend
        if backend.name not in _BACKENDS or not hasattr(backend, "model"):
            raise InputError(
                f"continual: backend {backend.name!r} keeps no state between frames: choose "
                f"{', '.join(_BACKENDS)}, with a checkpoint"
            )
        statistics = None
        if table is None:
            table, statistics = stream_rows(executor.table)
        self.rows, self._executor, self._filling = table, executor, filling
        self.frame_s = seconds_apart(executor.cfg.DATA)
        self._frame = replace(executor.preprocessing, num_frames=1)
        self._continual: dict[Subnet, ContinualNetwork] = {}
        self._jobs: dict[Subnet, Future[ContinualNetwork]] = {}
        self._making = threading.Lock()
        self._stream: FrameStream | None = None
        self._lock = threading.Lock()
        self._row: ContinualRow | None = None
        self._closed = False
        if not len(table):
            raise InputError("the continual table has no rows")
        from mutualvideo.runtime.continual_form import continual_network

        self._network = continual_network(backend.model, statistics)
        self._plain(table.rows[0].subnet)  # refused here, not with the first frame

    @property
    def current(self) -> ContinualRow | None:
        """The row last switched to; while its state fills, the one before answers."""
        return self._row

    def set_budget(
        self,
        budget: Budget | str | float | None = None,
        *,
        macs_per_s: float | None = None,
        core: float | None = None,
    ) -> ContinualRow:
        """Switches to the best row within a budget, between two frames.

        Args:
            budget: a ``Budget`` or its text, ``"2G/s"`` or ``"0.3core"``; or
            macs_per_s: multiply-adds a second, or
            core: seconds of a core's time a second.

        Raises:
            InputError: if not exactly one is given, it is below the cheapest row, or its row was
                never calibrated; nothing is switched.
        """
        given = [] if budget is None else [Budget.of(budget)]
        given += [] if macs_per_s is None else [Budget("macs_per_s", macs_per_s)]
        given += [] if core is None else [Budget("core", core)]
        if len(given) != 1:
            raise InputError("give exactly one budget: a text, macs_per_s=... or core=...")
        return self.switch(self.rows.best(given[0]).subnet)

    def switch(self, subnet: Subnet | str) -> ContinualRow:
        """Switches to a row, between two frames; returns it.

        Its name is that of the sub-network, or as the row prints: ``0.5x8x112@continual``.

        On ``openvino`` and ``onnxruntime`` it is prepared in the background the first time; until
        it is, the one before goes on answering. Only the very first is waited for, by
        :meth:`predict`.

        Raises:
            InputError: if it is not in the continual table, or was never calibrated.
        """
        row = self.rows[subnet]
        self._executor.check(row.subnet)
        with self._lock, _inference():
            self._require_open()
            self._row = row
            if self._stream is not None:
                self._follow(self._stream)
        return row

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Waits until :attr:`current` is prepared, so that the next frame goes to it.

        Args:
            timeout: seconds; ``None``: for as long as it takes.

        Returns:
            bool: whether it is; ``False`` when the time was up.

        Raises:
            PreparationError: if it cannot be prepared; the one before goes on answering.
        """
        with self._lock:
            self._require_open()
            if self._row is None or self._row.subnet in self._continual:
                return True
            subnet = self._row.subnet
            job = self._job(subnet)
        try:
            error = job.exception(timeout)
        except FutureTimeout:
            return False
        with self._lock:
            if error is not None and self._jobs.get(subnet) is job:
                self._refuse(subnet)
        return True

    def close(self) -> None:
        """Lets go of state and networks; it answers nothing afterwards. May be called twice."""
        # In the order of predict(), which prepares a row while it holds the stream.
        with self._lock, self._making:
            self._closed, self._stream, self._row = True, None, None
            self._continual.clear()
            self._jobs.clear()

    def _require_open(self) -> None:
        if self._closed:
            raise InputError(CLOSED)

    def prepare(self) -> None:
        """Prepares all rows, so that no switch has to wait for one."""
        for row in self.rows:
            self.form(row.subnet)

    def restart(self) -> None:
        """Forgets all frames: the next one is the first of another stream."""
        with self._lock:
            self._stream = None

    def scores(self, logits: Any) -> np.ndarray:
        """float32 (B, classes): the softmax; of videos with several labels the sigmoid."""
        several, logits = self._executor.backend.several_labels, logits.float()
        found: np.ndarray = (logits.sigmoid() if several else logits.softmax(1)).cpu().numpy()
        return found

    def pixels(self, frame: Any) -> np.ndarray:
        """What the network takes of a frame, float32 (3, S, S); arguments, errors: see predict."""
        if len(getattr(frame, "shape", ())) != 3:
            found = tuple(getattr(frame, "shape", ())) or type(frame).__name__
            raise InputError(
                f"in continual form one frame at a time, (H, W, 3) or (3, H, W), not {found}"
            )
        (picture,) = as_clips(frame, pictures=True)
        return prepare(picture, self._frame, 1, self._frame.crop_size)[:, 0]

    def predict(self, frame: Any) -> FramePrediction:
        """Takes in the next frame.

        It is prepared as a clip's frames are, see
        :meth:`~mutualvideo.runtime.AdaptiveRecognizer.predict`.

        Args:
            frame: uint8 tensor or array, RGB, (H, W, 3) or (3, H, W), of any H and W;
                :attr:`frame_s` after the one before.

        Raises:
            InputError: for another dtype or shape, or if no budget was set yet.
            PreparationError: once, if the row switched to could not be prepared; the one before
                goes on answering.
        """
        begin_s = time.perf_counter()
        pixels = self.pixels(frame)
        with self._lock, _inference():
            self._require_open()
            if self._row is None:
                raise InputError("recognizer: call set_budget(macs_per_s=...) or (core=...) first")
            if self._stream is None:
                self._stream = self._new_stream(self._row.subnet)
            self._follow(self._stream)
            ready_s = time.perf_counter()
            answer = self._stream.step(self._tensor(pixels))
            scores = self.scores(answer.logits)
            delay = self._continual[answer.subnet].delay
        end_s = time.perf_counter()
        names = self._executor.class_names
        return FramePrediction(
            scores=scores,
            labels=tuple(names[i] for i in scores.argmax(1)),
            subnet=answer.subnet,
            macs=answer.macs,
            latency_ms=(end_s - ready_s) * 1000,
            total_ms=(end_s - begin_s) * 1000,
            class_names=names,
            warming_up=answer.warming_up,
            filling=answer.filling,
            fresh=answer.fresh,
            delay=delay,
        )

    def _follow(self, stream: FrameStream) -> None:
        """Switches the stream to the row that is wanted, if that is prepared."""
        assert self._row is not None
        wanted = self._row.subnet
        if wanted == stream.wanted:
            return
        if self._executor.backend.name in _SLOW and wanted not in self._continual:
            if not self._job(wanted).done():
                return
        if wanted in self._jobs:
            if self._jobs[wanted].exception() is not None:
                self._refuse(wanted)
            self._jobs.pop(wanted)
        stream.switch(wanted)

    def _job(self, subnet: Subnet) -> Future[ContinualNetwork]:
        """Its preparation in the background, begun if it was not; the lock is held."""
        if subnet not in self._jobs:
            pool = ThreadPoolExecutor(1, "continual")
            self._jobs[subnet] = pool.submit(self.form, subnet)
            pool.shutdown(wait=False)  # its thread ends with the job
        return self._jobs[subnet]

    def _refuse(self, subnet: Subnet) -> NoReturn:
        """Goes back to the row before one that could not be prepared; the lock is held."""
        error = self._jobs.pop(subnet).exception()
        self._row = None if self._stream is None else self.rows[self._stream.wanted]
        raise PreparationError(
            f"sub-network {subnet} could not be prepared on backend "
            f"{self._executor.backend.name!r}: {error}"
        ) from error

    def _tensor(self, pixels: np.ndarray) -> Any:
        import torch

        return torch.from_numpy(pixels)[None].to(self._executor.backend.device)

    def _new_stream(self, subnet: Subnet) -> FrameStream:
        from mutualvideo.continual import FrameStream
        from mutualvideo.continual.frame_stream import frames_to_fill

        full = self._executor.cfg.DATA.NUM_FRAMES
        keep = None
        if self._filling == "at once":
            keep = max(frames_to_fill(self._plain(row.subnet), full) for row in self.rows)
        return FrameStream(self.form, full, subnet, self._filling, keep)

    def _plain(self, subnet: Subnet) -> ContinualNetwork:
        """For its numbers alone; costs nothing, switches nothing."""
        from mutualvideo.continual import ContinualNetwork

        return ContinualNetwork(self._network, subnet.frames, subnet.size)

    def form(self, subnet: Subnet) -> ContinualNetwork:
        """The continual form of a row, which is prepared here if it is not yet."""
        with self._making:
            self._require_open()
            if subnet not in self._continual:
                from mutualvideo.runtime.continual_form import continual_form

                backend: Any = self._executor.backend
                self._continual[subnet] = continual_form(backend, self._network, subnet)
            return self._continual[subnet]


def _inference() -> Any:
    import torch

    return torch.inference_mode()
