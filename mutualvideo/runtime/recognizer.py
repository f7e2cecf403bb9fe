"""One file of weights, one table, any budget."""

import time
from dataclasses import dataclass

import numpy as np

from mutualvideo.errors import InputError
from mutualvideo.runtime.prepare import Preprocessing, as_clips, prepare
from mutualvideo.runtime.prepared import PreparedRunners
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable


@dataclass(frozen=True)
class Prediction:
    """The answer to a batch of clips.

    Args:
        scores: float32 array (B, classes), softmax: each row sums to 1.
        labels: the most likely class of each clip, its name or else its index as text.
        subnet: which sub-network answered.
        macs: its multiply-adds for one clip.
        latency_ms: milliseconds from the sub-network's input to the scores, for all B clips:
            what the table measures.
        total_ms: milliseconds of the whole call, making that input included.
        class_names: names of the classes in the order of ``scores``.
    """

    scores: np.ndarray
    labels: tuple[str, ...]
    subnet: Subnet
    macs: int
    latency_ms: float
    total_ms: float
    class_names: tuple[str, ...]

    def top(self, count, index=0):
        """The ``count`` most likely classes of clip ``index``: ``[(label, score), ...]``."""
        return top_scores(self.scores[index], self.class_names, count)


def top_scores(scores, class_names, count):
    """The ``count`` highest of ``scores`` (classes,), best first: ``[(label, score), ...]``."""
    order = np.argsort(-scores, kind="stable")[:count]
    return [(class_names[i], float(scores[i])) for i in order]


class AdaptiveRecognizer:
    """A trained slimmable network that answers within a budget.

    With the backend ``torch`` the network runs in place: there is one copy of the weights,
    switching the sub-network copies nothing, and calls from several threads take turns. The
    other backends are faster and prepare every sub-network they run, in the background: until
    a new one is ready the one before answers. Any number of threads may call.

    Args:
        checkpoint: path of a mutualvideo checkpoint, or a slimmable network that carries its
            calibrated statistics, in which case ``cfg`` is needed.
        table: path of a query table in JSON, or a ``QueryTable``. Its metadata names the
            file of BatchNorm statistics (``statistics``), the classes (``classes``) and
            the checkpoint it was made from (``fingerprint``).
        device: ``"cpu"``, ``"cuda"``...; ``None``: for torch CUDA where there is one, else the
            CPU.
        backend: ``torch``, ``torch-extracted``, ``torch-compiled``, ``torch-cudagraph``,
            ``openvino`` or ``onnxruntime``; see
            :func:`~mutualvideo.runtime.backends.make_backend`.
        cfg: configuration of an already built network; a checkpoint carries its own.
        precision: ``fp32``, ``bf16`` or ``fp16``, of the arithmetic.
        cache_mib: prepared sub-networks that are not in use are let go beyond this many MiB.

    Raises:
        InputError: if a file cannot be read, table and checkpoint do not belong together, or
            the backend's package is not installed.
    """

    def __init__(
        self,
        checkpoint,
        table,
        device=None,
        backend="torch",
        cfg=None,
        precision="fp32",
        cache_mib=512,
    ):
        # Here, so that whoever runs exported sub-networks imports no torch.
        from mutualvideo.runtime.network import open_network

        self.table = table if isinstance(table, QueryTable) else QueryTable.load_json(table)
        self._backend, self.cfg = open_network(
            checkpoint, self.table, device, backend, cfg, precision
        )
        self._preprocessing = Preprocessing.of(self.cfg)
        self._prepared = PreparedRunners(self._backend, cache_mib)
        self.class_names = self._class_names()

    @property
    def backend(self):
        """The :class:`~mutualvideo.runtime.backends.Backend`; ``describe()`` says what it is."""
        return self._backend

    @property
    def current(self):
        """The ``Row`` last switched to, or ``None`` before the first.

        While it is being prepared another one answers, which ``Prediction.subnet`` names.
        """
        subnet = self._prepared.target
        return None if subnet is None else self.table[subnet]

    def set_budget(self, macs=None, ms=None, wait=False):
        """Switches to the best sub-network within a budget.

        Args:
            macs: multiply-adds of one clip, or
            ms: latency of one clip in milliseconds, as measured in the table.
            wait: whether to return only when it answers.

        Returns:
            The ``Row`` switched to.

        Raises:
            InputError: if not exactly one budget is given, if it is below the cheapest
                sub-network, or the one chosen was never calibrated; nothing is switched.
            PreparationError: see :meth:`switch`.
        """
        return self.switch(self.table.best(macs=macs, ms=ms).subnet, wait)

    def switch(self, subnet, wait=False):
        """Switches to a sub-network of the table.

        Returns at once unless ``wait``; only the very first one is waited for, by
        :meth:`predict`.

        Returns:
            Its ``Row``.

        Raises:
            InputError: if it is not in the table or was never calibrated.
            PreparationError: if one that was switched to before could not be prepared and
                nobody was told, or with ``wait`` this one; nothing is switched.
        """
        row = self.table[subnet]
        self._backend.check(subnet)
        self._prepared.switch(subnet)
        if wait:
            self._prepared.wait_ready()
        return row

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
        runner = self._runner(subnet)
        start = time.perf_counter()
        batch = np.stack([prepare(one, self._preprocessing, *runner.shape) for one in clips])
        ready = time.perf_counter()
        scores = runner(batch)
        end = time.perf_counter()
        return Prediction(
            scores=scores,
            labels=tuple(self.class_names[i] for i in scores.argmax(1)),
            subnet=runner.subnet,
            macs=self.table[runner.subnet].macs,
            latency_ms=(end - ready) * 1000,
            total_ms=(end - start) * 1000,
            class_names=self.class_names,
        )

    def _runner(self, subnet):
        if subnet is not None:
            self._backend.check(self.table[subnet].subnet)
            return self._prepared.get(subnet)
        runner = self._prepared.answering()
        if runner is None:
            raise InputError("recognizer: call set_budget(macs=...) or (ms=...) first")
        return runner

    def _class_names(self):
        count, names = self.cfg.MODEL.NUM_CLASSES, self.table.metadata.get("classes")
        if names is None:
            return tuple(str(i) for i in range(count))
        if not isinstance(names, list) or len(names) != count:
            given = len(names) if isinstance(names, list) else repr(names)
            raise InputError(
                f"query table: classes must be a list of {count} names, got {given}"
            )
        return tuple(str(name) for name in names)
