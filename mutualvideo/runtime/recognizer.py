"""One file of weights, one table, any budget."""

import copy
import threading
import time

import numpy as np

from mutualvideo.backends.forking import survives_fork
from mutualvideo.errors import InputError
from mutualvideo.policy.controller import Controller
from mutualvideo.runtime.cascading import CascadeRunner
from mutualvideo.runtime.deployed import is_folder, locate, open_folder
from mutualvideo.runtime.prediction import Prediction
from mutualvideo.runtime.prepared import PreparedRunners
from mutualvideo.runtime.preprocess import Preprocessing, as_clips, prepare
from mutualvideo.table.cascade import CascadeCurve
from mutualvideo.table.query import QueryTable


class AdaptiveRecognizer:
    """A trained slimmable network that answers within a budget.

    With the backend ``torch`` the network runs in place: there is one copy of the weights,
    switching the sub-network copies nothing, and calls from several threads take turns. The
    other backends are faster and prepare every sub-network they run, in the background: until
    a new one is ready the one before answers. Any number of threads may call.

    Under a budget in milliseconds or clips a second it watches its own latency and moves along
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

    Raises:
        InputError: if a file cannot be read, table and checkpoint do not belong together, or
            the backend's package is not installed.
    """

    def __init__(
        self,
        checkpoint,
        table=None,
        device=None,
        backend=None,
        cfg=None,
        precision="fp32",
        cache_mib=512,
        cascades=None,
    ):
        if is_folder(checkpoint):
            checkpoint, table = locate(checkpoint, table=table)
        if is_folder(checkpoint):
            opened = open_folder(checkpoint, table, device, backend, precision)
            self._backend, self.cfg, self.table = opened
        else:
            # Here, so that whoever runs exported sub-networks imports no torch.
            from mutualvideo.runtime.from_checkpoint import open_network

            if table is None:
                raise InputError("recognizer: give the query table of the checkpoint")
            self.table = table if isinstance(table, QueryTable) else QueryTable.load_json(table)
            self._backend, self.cfg = open_network(
                checkpoint, self.table, device, backend or "torch", cfg, precision
            )
        self._preprocessing = Preprocessing.of(self.cfg)
        self._prepared = PreparedRunners(self._backend, cache_mib)
        self.class_names = self._class_names()
        self._cascades, self._cascade = cascades, None
        self._controller = Controller(self.table)
        # What the controller chose and nobody has switched to yet.
        self._wanted = None
        self.after_fork()
        survives_fork(self)

    def after_fork(self):
        """Makes what waits for other threads anew, in a process that was forked from this one.

        For a pool of workers ``multiprocessing``'s ``spawn`` is safer: numerical libraries keep
        threads of their own, which a fork loses.
        """
        # Orders budgets, switches and what is learnt from answers; never held while one is made.
        self._lock = threading.RLock()

    @property
    def backend(self):
        """The :class:`~mutualvideo.backends.Backend`; ``describe()`` says what it is."""
        return self._backend

    @property
    def current(self):
        """The ``Row`` last switched to, or ``None`` before the first.

        While it is being prepared another one answers, which ``Prediction.subnet`` names.
        """
        with self._lock:
            subnet = self._wanted or self._prepared.target
        return None if subnet is None else self.table[subnet]

    @property
    def late(self):
        """Whether even the cheapest row is expected to take longer than the budget allows."""
        return self._controller.late

    def set_budget(self, macs=None, ms=None, fps=None, cascade=False, wait=False):
        """Switches to the best sub-network within a budget.

        Args:
            macs: multiply-adds of one clip, or
            ms: milliseconds of one clip in the network, or
            fps: clips answered per second, their preparation included. Under the last two the
                row follows the latency observed from then on; ``Prediction.subnet`` says
                which one answered.
            cascade: runs a confidence cascade that costs ``macs`` on average: cheap rows
                answer, dearer ones only where these are unsure. While its stages are being
                prepared the first one answers alone.
            wait: whether to return only when it answers.

        Returns:
            The ``Row`` switched to; of a cascade, the first.

        Raises:
            InputError: if not exactly one budget is given, if it is below the cheapest
                sub-network, if one that may be switched to under it was never calibrated, or
                there are no cascades; nothing is switched.
            PreparationError: see :meth:`switch`.
        """
        if not cascade:
            return self._begin(lambda new: new.set_budget(macs=macs, ms=ms, fps=fps), None, wait)
        if macs is None or ms is not None or fps is not None:
            raise InputError("a cascade has a budget of multiply-adds: give macs=... alone")
        found = self._curve().best(macs)
        runner = CascadeRunner(found, self.table)
        for subnet in found.stages:
            self._backend.check(subnet)
        row = self._begin(lambda new: new.hold(found.stages[0]), runner, wait)
        if wait:
            for subnet in found.stages:
                self._prepared.get(subnet)
        return row

    def switch(self, subnet, wait=False):
        """Switches to a sub-network of the table, until the next budget or switch.

        Returns at once unless ``wait``; only the very first one is waited for, by
        :meth:`predict`.

        Returns:
            Its ``Row``.

        Raises:
            InputError: if it is not in the table or was never calibrated.
            PreparationError: if one that was switched to before could not be prepared and
                nobody was told, or with ``wait`` this one; nothing is switched.
        """
        return self._begin(lambda new: new.hold(subnet), None, wait)

    def _begin(self, decide, cascade, wait):
        with self._lock:
            # A copy, so that whatever is refused leaves everything as it was.
            new = copy.copy(self._controller)
            decide(new)
            for row in new.ladder:
                self._backend.check(row.subnet)
            self._prepared.switch(new.row.subnet)
            self._controller, self._cascade, self._wanted = new, cascade, None
            # None of them is let go: a cascade needs all.
            self._prepared.keep(() if cascade is None else cascade.cascade.stages)
        if wait:
            self._prepared.wait_ready()
        return new.row

    def _curve(self):
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

    def wait_ready(self, timeout=None):
        """Waits until :attr:`current` answers; returns whether it does within ``timeout`` s.

        Raises:
            PreparationError: if it cannot be prepared.
        """
        return self._prepared.wait_ready(timeout)

    def prefetch(self, subnets):
        """Has sub-networks of the table prepared in the background, as far as they fit.

        Raises:
            InputError: if one is not in the table or was never calibrated.
        """
        subnets = [self.table[subnet].subnet for subnet in subnets]
        for subnet in subnets:
            self._backend.check(subnet)
        self._prepared.request(subnets)

    def predict(self, clip, subnet=None):
        """Recognises clips with the current sub-network.

        Frames are taken evenly over the clip (``DATA.NUM_FRAMES`` of them, repeated if it
        has fewer), the short side is resized to ``DATA.TEST_CROP_SIZE`` and the centre cut
        out, values are normalised with ``DATA.MEAN`` and ``DATA.STD``: what evaluation does.

        Args:
            clip: uint8 tensor or array, RGB, of any T, H and W: (T, H, W, 3), (3, T, H, W)
                or a batch (B, 3, T, H, W). A last dimension of 3 means (T, H, W, 3). For a
                network of pictures (H, W, 3), (3, H, W), (B, H, W, 3) or (B, 3, H, W).
            subnet: answers as this one of the table instead, and waits until it is prepared.

        Returns:
            A ``Prediction``.

        Raises:
            InputError: for another dtype or shape, or if no budget was set yet.
            PreparationError: once, if the sub-network switched to could not be prepared; the
                one before goes on answering.
        """
        clips = as_clips(clip, pictures=self._preprocessing.num_frames is None)
        runner, cascade = self._runner(subnet)
        if cascade is not None:
            return self._run_cascade(cascade, clips)
        start = time.perf_counter()
        batch = self._batch(clips, runner)
        ready = time.perf_counter()
        scores = runner(batch)
        end = time.perf_counter()
        prediction = self._prediction(scores, runner.subnet, (end - ready, end - start))
        if subnet is None:
            self._learn(prediction, len(clips))
        return prediction

    def _runner(self, subnet):
        """What answers: ``(runner, None)`` or ``(None, cascade)``."""
        if subnet is not None:
            self._backend.check(self.table[subnet].subnet)
            return self._prepared.get(subnet), None
        with self._lock:
            if self._wanted is not None:
                wanted, self._wanted = self._wanted, None
                self._prepared.switch(wanted)
            cascade = self._cascade
            if cascade is not None and all(s in self._prepared for s in cascade.cascade.stages):
                return None, cascade
        runner = self._prepared.answering()
        if runner is None:
            raise InputError("recognizer: call set_budget(macs=...), (ms=...) or (fps=...) first")
        return runner, None

    def _learn(self, prediction, clips):
        """Tells the controller how long it took; switches if it says so."""
        with self._lock:
            before = self._controller.row
            if before is None:
                return
            row = self._controller.observe(
                prediction.subnet,
                prediction.latency_ms / clips,
                (prediction.total_ms - prediction.latency_ms) / clips,
            )
            if row is not before:
                # With the next clip: an error of preparing it must not cost this answer.
                self._wanted = row.subnet

    def _run_cascade(self, cascade, clips):
        start, in_network = time.perf_counter(), 0.0

        def answer(subnet, index):
            nonlocal in_network
            runner = self._prepared.get(subnet)
            batch = self._batch([clips[i] for i in index], runner)
            ready = time.perf_counter()
            scores = runner(batch)
            in_network += time.perf_counter() - ready
            return scores

        found = cascade.run(answer, len(clips))
        times = in_network, time.perf_counter() - start
        stages = cascade.cascade.stages
        last = stages[max(stages.index(subnet) for subnet in found.subnets)]
        return self._prediction(found.scores, last, times, round(found.macs.mean()), found.subnets)

    def _batch(self, clips, runner):
        return np.stack([prepare(clip, self._preprocessing, *runner.shape) for clip in clips])

    def _prediction(self, scores, subnet, seconds, macs=None, subnets=()):
        return Prediction(
            scores=scores,
            labels=tuple(self.class_names[i] for i in scores.argmax(1)),
            subnet=subnet,
            macs=self.table[subnet].macs if macs is None else macs,
            latency_ms=seconds[0] * 1000,
            total_ms=seconds[1] * 1000,
            class_names=self.class_names,
            subnets=subnets,
        )

    def _class_names(self):
        count, names = self.cfg.MODEL.NUM_CLASSES, self.table.metadata.get("classes")
        if names is None:
            return tuple(str(i) for i in range(count))
        if not isinstance(names, list) or len(names) != count:
            given = len(names) if isinstance(names, list) else repr(names)
            raise InputError(f"query table: classes must be a list of {count} names, got {given}")
        return tuple(str(name) for name in names)
