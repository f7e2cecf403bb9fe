"""One file of weights, one table, any budget."""

from __future__ import annotations

import copy
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from mutualvideo.backends import Backend, Runner
from mutualvideo.backends.common.forking import survives_fork
from mutualvideo.budget import Budget
from mutualvideo.errors import InputError
from mutualvideo.policy.controller import Controller
from mutualvideo.runtime.cascading import CascadeRunner
from mutualvideo.runtime.continual_recognizer import ContinualRecognizer
from mutualvideo.runtime.executor import Executor
from mutualvideo.runtime.prediction import Prediction
from mutualvideo.runtime.recorded import is_path
from mutualvideo.subnet import Subnet
from mutualvideo.table.cascade import CascadeCurve
from mutualvideo.table.continual_table import ContinualRow
from mutualvideo.table.query import QueryTable, Row

_MODES = ("clip", "continual")
Self = TypeVar("Self", bound="AdaptiveRecognizer")


class AdaptiveRecognizer:
    """A trained slimmable network that answers within a budget.

    With the backend ``torch`` the network runs in place: there is one copy of the weights,
    switching the sub-network copies nothing, and calls from several threads take turns. The
    other backends are faster and prepare every sub-network they run, in the background: until
    a new one is ready the one before answers. Any number of threads may call.

    Under a budget in milliseconds or clips per second it watches its own latency and moves along
    the Pareto rows when the machine gets slower or faster, see
    :class:`~mutualvideo.policy.controller.Controller`.

    Args:
        checkpoint: OUTPUT_DIR of a run, or a folder that ``tools/export.py --folder`` wrote:
            these need nothing else; or path of a mutualvideo checkpoint; or a slimmable network
            that carries its calibrated statistics, in which case ``cfg`` is needed.
        table: path of a query table in JSON, or a ``QueryTable``. Its metadata names the
            file of BatchNorm statistics (``statistics``), the classes (``classes``) and
            the checkpoint it was made from (``fingerprint``). ``None``: the folder's own.
        device: ``"cpu"``, ``"cuda"``...; ``None``: for torch CUDA where there is one, else the
            CPU.
        backend: ``torch``, ``torch-extracted``, ``torch-compiled``, ``torch-cudagraph``,
            ``openvino`` or ``onnxruntime``; see
            :func:`~mutualvideo.backends.make_backend`. ``None``: ``torch``, or for a
            folder what its format is made for.
        cfg: configuration of an already built network; a checkpoint carries its own.
        precision: ``fp32``, ``bf16`` or ``fp16``, of the arithmetic.
        cascades: path of the table's cascades in JSON, or a ``CascadeCurve``; ``None``: the
            file that the table's metadata names (``cascades``).
        cache_mib: prepared sub-networks that are not in use are let go beyond this many MiB.
        threads: of the CPU, at least 1, that ``openvino`` and ``onnxruntime`` compute with;
            ``None``: as many as torch uses, or for a folder the backend's choice. torch has one
            number for the process, so that its backends refuse it: ``torch.set_num_threads``.
        mode: ``clip``, or ``continual``: :meth:`predict` takes a stream frame by frame, of which
            each is computed once, and budgets are of a second. What is done so, :attr:`frames`
            does.
        filling: ``beside`` or ``at once``: how a sub-network comes to a state of its own in
            continual form, see :class:`~mutualvideo.continual.FrameStream`.

    A context manager: see :meth:`close`.

    Attributes:
        frames: the :class:`~mutualvideo.runtime.continual_recognizer.ContinualRecognizer` in
            continual form, else ``None``.
        executor: the :class:`~mutualvideo.runtime.executor.Executor` that runs the rows; services
            and stream servers share it.

    Raises:
        InputError: if a file cannot be read, table and checkpoint do not belong together, or
            the backend's package is not installed or cannot be given ``threads``.
    """

    def __init__(
        self,
        checkpoint: Any,
        table: QueryTable | str | os.PathLike[str] | None = None,
        device: str | None = None,
        backend: str | None = None,
        cfg: Any = None,
        precision: str = "fp32",
        cache_mib: float = 512,
        cascades: CascadeCurve | str | os.PathLike[str] | None = None,
        threads: int | None = None,
        mode: str = "clip",
        filling: str = "beside",
    ) -> None:
        if mode not in _MODES:
            raise InputError(f"mode {mode!r}: choose {' or '.join(_MODES)}")
        self.executor = Executor.open(
            checkpoint, table, device, backend, cfg, precision, cache_mib, threads
        )
        self.frames: ContinualRecognizer | None = None
        if mode == "continual":
            self.frames = ContinualRecognizer(self.executor, filling=filling)
        self._name = os.fspath(checkpoint) if is_path(checkpoint) else type(checkpoint).__name__
        self._budget: Budget | None = None
        self._cascades = cascades
        self._cascade: CascadeRunner | None = None
        self._controller = Controller(self.table)
        # What the controller chose, before it is switched to.
        self._wanted: Subnet | None = None
        self.after_fork()
        survives_fork(self)

    def __repr__(self) -> str:
        current = self.current
        what = "no budget yet" if current is None else f"answers as {current.subnet}"
        if self._budget is not None:
            what = f"budget {self._budget}, {what}"
        where = f"{self.backend.name} on {self.backend.device}"
        return f"<AdaptiveRecognizer {self._name}: {len(self.table)} rows, {where}, {what}>"

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the sub-networks that were prepared; it answers nothing afterwards.

        What leaving a ``with`` block does. May be called twice.
        """
        self.executor.runners.close()
        if self.frames is not None:
            self.frames.close()

    def after_fork(self) -> None:
        """Makes what waits for other threads anew, in a process that was forked from this one.

        For a pool of workers ``multiprocessing``'s ``spawn`` is safer: numerical libraries keep
        threads of their own, which a fork loses.
        """
        # Orders budgets, switches and what is learnt from answers; never held while one is made.
        self._lock = threading.RLock()

    @property
    def backend(self) -> Backend:
        """The :class:`~mutualvideo.backends.Backend`; ``describe()`` says what it is."""
        return self.executor.backend

    @property
    def table(self) -> QueryTable:
        """The query table; its rows are what budgets choose from."""
        return self.executor.table

    @property
    def cfg(self) -> Any:
        """The network's configuration; of an exported folder, what running it needs."""
        return self.executor.cfg

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in their order; where there are none, their numbers as text."""
        return self.executor.class_names

    @property
    def current(self) -> Row | ContinualRow | None:
        """The ``Row`` last switched to, or ``None`` before the first.

        While it is being prepared another one answers, which ``Prediction.subnet`` names.
        """
        if self.frames is not None:
            return self.frames.current
        with self._lock:
            subnet = self._wanted or self.executor.runners.target
        return None if subnet is None else self.table[subnet]

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
        macs_per_s: float | None = None,
        core: float | None = None,
        cascade: bool = False,
        wait: bool = False,
    ) -> Row | ContinualRow:
        """Switches to the best sub-network within a budget.

        Args:
            budget: a :class:`~mutualvideo.budget.Budget` or its text, ``"1.2G"``; or
            macs: multiply-adds of one clip, or
            ms: milliseconds of one clip in the network, or
            fps: clips answered per second, their preparation included. Under the last two the
                row follows the latency observed from then on; ``Prediction.subnet`` says
                which one answered.
            macs_per_s: in continual form, multiply-adds a second, or
            core: seconds of a core's time a second; the text is ``"2G/s"`` or ``"0.3core"``.
            cascade: runs a confidence cascade that costs ``macs`` on average: cheap rows
                answer, dearer ones only where these are unsure. While its stages are being
                prepared, the first one answers by itself.
            wait: whether to return only when it answers.

        Returns:
            The ``Row`` switched to; of a cascade, the first.

        Raises:
            InputError: if not exactly one budget is given, if it is below the cheapest
                sub-network, if one that may be switched to under it was never calibrated, or
                there are no cascades; nothing is switched.
            PreparationError: see :meth:`switch`.
        """
        if self.frames is not None:
            if cascade or not macs is ms is fps is None:
                raise InputError("in continual form give macs_per_s=..., core=... or their text")
            row_of_frames = self.frames.set_budget(budget, macs_per_s=macs_per_s, core=core)
            if wait:
                self.frames.wait_ready()
            return row_of_frames
        if macs_per_s is not None or core is not None:
            raise InputError('macs_per_s=... and core=... are of streams: give mode="continual"')
        if cascade and (ms is not None or fps is not None):
            raise InputError("a cascade has a budget of multiply-adds: give macs=... alone")
        given = Budget.of(budget, macs=macs, ms=ms, fps=fps)
        if not cascade:
            return self._begin(lambda new: new.set_budget(given), None, wait, given)
        if given.unit != "macs":
            raise InputError("a cascade has a budget of multiply-adds: give macs=... alone")
        found = self._curve().best(given)
        runner = CascadeRunner(found, self.table)
        for subnet in found.stages:
            self.backend.check(subnet)
        row = self._begin(lambda new: new.hold(found.stages[0]), runner, wait, given)
        if wait:
            for subnet in found.stages:
                self.executor.runners.get(subnet)
        return row

    def switch(self, subnet: Subnet | str, wait: bool = False) -> Row | ContinualRow:
        """Switches to a sub-network of the table, until the next budget or switch.

        Returns at once unless ``wait``; only the very first one is waited for, by
        :meth:`predict`.

        Returns:
            Its ``Row``.

        Raises:
            InputError: if it is not in the table or was never calibrated.
            PreparationError: if an earlier switch failed in the background and has not been
                reported yet, or with ``wait`` if this one fails; nothing is switched.
        """
        if self.frames is not None:
            row = self.frames.switch(subnet)
            if wait:
                self.frames.wait_ready()
            return row
        if isinstance(subnet, str):
            subnet = Subnet.parse(subnet)
        return self._begin(lambda new: new.hold(subnet), None, wait)

    def _begin(
        self,
        decide: Callable[[Controller], Row],
        cascade: CascadeRunner | None,
        wait: bool,
        budget: Budget | None = None,
    ) -> Row:
        runners = self.executor.runners
        with self._lock:
            # A copy, so that whatever is refused leaves everything as it was.
            new = copy.copy(self._controller)
            row = decide(new)
            for possible in new.ladder:
                self.backend.check(possible.subnet)
            runners.switch(row.subnet)
            self._controller, self._cascade, self._wanted = new, cascade, None
            self._budget = budget
            # None of them is let go: a cascade needs all.
            runners.keep(() if cascade is None else cascade.cascade.stages)
        if wait:
            runners.wait_ready()
        return row

    def _curve(self) -> CascadeCurve:
        with self._lock:
            if self._cascades is None:
                self._cascades = self.table.path_of("cascades")
            if self._cascades is None:
                raise InputError(
                    "the query table names no cascades: make it with TABLE.CASCADES True, or give "
                    "cascades=... to the recogniser"
                )
            if not isinstance(self._cascades, CascadeCurve):
                self._cascades = CascadeCurve.load_json(self._cascades)
            return self._cascades

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Waits until :attr:`current` answers; returns whether it does within ``timeout`` s.

        In continual form until it is prepared: its state fills with the frames that come.

        Raises:
            PreparationError: if it cannot be prepared.
        """
        if self.frames is not None:
            return self.frames.wait_ready(timeout)
        return self.executor.runners.wait_ready(timeout)

    def prefetch(self, subnets: Iterable[Subnet | str]) -> None:
        """Has sub-networks of the table prepared in the background, as far as they fit.

        Raises:
            InputError: if one is not in the table or was never calibrated.
        """
        self.executor.runners.request([self.executor.check(subnet) for subnet in subnets])

    def predict(
        self, clip: Any, subnet: Subnet | str | None = None, *, features: bool = False
    ) -> Prediction:
        """Recognises clips with the current sub-network.

        Frames are taken evenly over the clip (``DATA.NUM_FRAMES`` of them, repeated if it
        has fewer), the short side is resized to ``DATA.TEST_CROP_SIZE`` and the centre cut
        out, values are normalised with ``DATA.MEAN`` and ``DATA.STD``: what evaluation does.

        Args:
            clip: uint8 tensor or array, RGB, of any T, H and W: (T, H, W, 3), (3, T, H, W)
                or a batch (B, 3, T, H, W). A last dimension of 3 means (T, H, W, 3). For a
                network of pictures (H, W, 3), (3, H, W), (B, H, W, 3) or (B, 3, H, W). Or the
                path of a file: of a video the clip in its middle, ``DATA.SAMPLING_RATE`` and
                ``DATA.TARGET_FPS`` apart as in evaluation, of a picture all of it. In continual
                form the stream's next frame, (H, W, 3) or (3, H, W).
            subnet: answers as this one of the table instead, and waits until it is prepared.
            features: whether ``Prediction.features`` is given: what enters the last linear layer.
                Of the backends that run torch networks; not of cascades or in continual form.

        Returns:
            A ``Prediction``; in continual form a
            :class:`~mutualvideo.runtime.continual_recognizer.FramePrediction`.

        Raises:
            InputError: for another dtype or shape, a file that cannot be read, if no budget was set
                yet, or if ``features`` are asked for where there are none.
            PreparationError: once, if the sub-network switched to could not be prepared; the
                one before goes on answering.
        """
        if self.frames is not None:
            if features:
                raise InputError('features: in continual form there are none: use mode="clip"')
            if subnet is not None:
                raise InputError("in continual form switch() to the sub-network; it needs a state")
            return self.frames.predict(clip)
        if features:
            self.executor.check_features()
        begin_s = time.perf_counter()
        clips = self.executor.clips(clip)
        read_s = time.perf_counter() - begin_s
        if subnet is not None:
            runner = self.executor.runners.get(self.executor.check(subnet))
            return self.executor.predict(runner, clips, features, read_s)
        current = self._current_runner()
        if isinstance(current, CascadeRunner):
            if features:
                raise InputError(
                    "features: those of a cascade's sub-networks differ in length: set the budget "
                    "without cascade=True, or give subnet=..."
                )
            return self.executor.predict_cascade(current, clips, read_s)
        prediction = self.executor.predict(current, clips, features, read_s)
        if features:
            # What they cost is no news about the row.
            return prediction
        other_ms = prediction.total_ms - prediction.latency_ms
        self.observe(prediction.subnet, prediction.latency_ms / len(clips), other_ms / len(clips))
        return prediction

    def observe(self, subnet: Subnet, latency_ms: float, other_ms: float = 0.0) -> None:
        """Takes in what an answer under this recogniser's budget took, if others gave it.

        :meth:`predict` calls it by itself. The budget's row may change, with the next clip.

        Args:
            subnet: which sub-network answered.
            latency_ms: milliseconds of one clip in the network.
            other_ms: milliseconds of one clip outside it.
        """
        with self._lock:
            before = self._controller.row
            if before is None:
                return
            row = self._controller.observe(subnet, latency_ms, other_ms)
            if row is not before:
                # With the next clip: an error of preparing it must not cost this answer.
                self._wanted = row.subnet

    def _current_runner(self) -> Runner | CascadeRunner:
        runners = self.executor.runners
        with self._lock:
            if self._wanted is not None:
                wanted, self._wanted = self._wanted, None
                runners.switch(wanted)
            cascade = self._cascade
            if cascade is not None and all(s in runners for s in cascade.cascade.stages):
                return cascade
        runner = runners.answering()
        if runner is None:
            raise InputError("recognizer: call set_budget(macs=...), (ms=...) or (fps=...) first")
        return runner
