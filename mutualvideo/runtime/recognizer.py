"""One file of weights, one table, any budget."""

import threading
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mutualvideo.data.transforms import normalize, test_transform
from mutualvideo.errors import InputError
from mutualvideo.models import load_model
from mutualvideo.runtime.backends import make_backend
from mutualvideo.slim import frame_indices, load_statistics, set_subnet, set_width, slim_state
from mutualvideo.subnet import Subnet
from mutualvideo.table.fingerprint import fingerprint
from mutualvideo.table.query import QueryTable

_SHAPES = "uint8 (T, H, W, 3), (3, T, H, W) or (B, 3, T, H, W)"


@dataclass(frozen=True)
class Prediction:
    """The answer to a batch of clips.

    Args:
        scores: float32 array (B, classes), softmax: each row sums to 1.
        labels: the most likely class of each clip, its name or else its index as text.
        subnet: which sub-network answered.
        macs: its multiply-adds for one clip.
        latency_ms: milliseconds from the normalised full-size clips to the scores, for all
            B clips: what the table measures, and making the sub-network's input.
        total_ms: milliseconds of the whole call, cropping and normalisation included.
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

    The network runs in place: there is one copy of the weights, and switching the
    sub-network copies nothing. Calls from several threads take turns.

    Args:
        checkpoint: path of a mutualvideo checkpoint, or a slimmable network that carries its
            calibrated statistics, in which case ``cfg`` is needed.
        table: path of a query table in JSON, or a ``QueryTable``. Its metadata names the
            file of BatchNorm statistics (``statistics``), the classes (``classes``) and
            the checkpoint it was made from (``fingerprint``).
        device: ``"cpu"``, ``"cuda"``...; ``None``: CUDA where there is one, else the CPU.
        backend: ``"torch"``.
        cfg: configuration of an already built network; a checkpoint carries its own.

    Raises:
        InputError: if a file cannot be read, or table and checkpoint do not belong together.
    """

    def __init__(self, checkpoint, table, device=None, backend="torch", cfg=None):
        self.table = table if isinstance(table, QueryTable) else QueryTable.load_json(table)
        built = isinstance(checkpoint, nn.Module)
        if built == (cfg is None):
            raise InputError("recognizer: give cfg with a built network, and only then")
        if built:
            model, self.cfg = checkpoint, cfg
        else:
            self._check_fingerprint(checkpoint)
            model, self.cfg = load_model(checkpoint)
        self._check_rows(model)
        self.class_names = self._class_names()
        self._backend = make_backend(backend, model, device)
        statistics = None if built else self.table.path_of("statistics")
        if statistics is not None:
            # After the move: statistics lie where the weights lie.
            load_statistics(model, statistics)
        self._current = None
        self._lock = threading.RLock()

    @property
    def current(self):
        """The ``Row`` in use, or ``None`` before the first ``set_budget``."""
        return self._current

    def set_budget(self, macs=None, ms=None):
        """Switches to the best sub-network within a budget.

        Args:
            macs: multiply-adds of one clip, or
            ms: latency of one clip in milliseconds, as measured in the table.

        Returns:
            The ``Row`` switched to.

        Raises:
            InputError: if not exactly one budget is given, if it is below the cheapest
                sub-network, or the one chosen was never calibrated; nothing is switched.
        """
        row = self.table.best(macs=macs, ms=ms)
        self._backend.check(row.subnet)
        with self._lock:
            self._backend.switch(row.subnet)
            self._current = row
        return row

    def predict(self, clip):
        """Recognises clips with the current sub-network.

        Frames are taken evenly over the clip (``DATA.NUM_FRAMES`` of them, repeated if it
        has fewer), the short side is resized to ``DATA.TEST_CROP_SIZE`` and the centre cut
        out, values are normalised with ``DATA.MEAN`` and ``DATA.STD``: what evaluation does.

        Args:
            clip: uint8 tensor or array, RGB, of any T, H and W: (T, H, W, 3), (3, T, H, W)
                or a batch (B, 3, T, H, W). A last dimension of 3 means (T, H, W, 3).

        Returns:
            A ``Prediction``.

        Raises:
            InputError: for another dtype or shape, or if no budget was set yet.
        """
        clips = _as_clips(clip)
        with self._lock:
            row = self._current
            if row is None:
                raise InputError("recognizer: call set_budget(macs=...) or (ms=...) first")
            start = time.perf_counter()
            with torch.inference_mode():
                batch = torch.stack([self._prepare(clip) for clip in clips])
                batch = batch.to(self._backend.device)
                batch = normalize(batch, self.cfg.DATA.MEAN, self.cfg.DATA.STD)
                self._backend.wait()
                ready = time.perf_counter()
                scores = self._backend.scores(batch, row.subnet)
            end = time.perf_counter()
        return Prediction(
            scores=scores,
            labels=tuple(self.class_names[i] for i in scores.argmax(1)),
            subnet=row.subnet,
            macs=row.macs,
            latency_ms=(end - ready) * 1000,
            total_ms=(end - start) * 1000,
            class_names=self.class_names,
        )

    def _prepare(self, clip):
        """uint8 (T, H, W, 3) -> uint8 (3, NUM_FRAMES, TEST_CROP_SIZE, TEST_CROP_SIZE)."""
        index = frame_indices(len(clip), self.cfg.DATA.NUM_FRAMES)
        return test_transform(clip[index], self.cfg.DATA.TEST_CROP_SIZE, 0, 1).movedim(-1, 0)

    def _check_fingerprint(self, checkpoint):
        expected = self.table.metadata.get("fingerprint")
        if expected is not None and expected != fingerprint(checkpoint):
            raise InputError(
                f"{checkpoint}: is not the checkpoint the query table was made from; "
                "make the table anew with TRAIN.ENABLE False"
            )

    def _check_rows(self, model):
        """Every row must be something this network can execute."""
        state = slim_state(model)
        for row in self.table:
            frames = row.subnet.frames
            if frames is None or frames > self.cfg.DATA.NUM_FRAMES:
                raise InputError(
                    f"query table: row {row.subnet}: this network takes clips of "
                    f"1 to {self.cfg.DATA.NUM_FRAMES} frames; is it another network's table?"
                )
            try:
                set_subnet(model, row.subnet)
            except InputError as error:
                raise InputError(f"query table: row {row.subnet}: {error}") from error
        set_width(model, state.width_range[1])

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


def _as_clips(clip):
    """A list of uint8 tensors (T, H, W, 3), sharing the memory of what was given."""
    if isinstance(clip, np.ndarray) and clip.dtype == np.uint8:
        clip = torch.from_numpy(clip)
    if not isinstance(clip, torch.Tensor) or clip.dtype != torch.uint8:
        kind = f"{clip.dtype} {tuple(clip.shape)}" if hasattr(clip, "dtype") else type(clip)
        raise InputError(f"clip: expected {_SHAPES}, got {kind}")
    shape = tuple(clip.shape)
    if 0 not in shape:
        if len(shape) == 5 and shape[1] == 3:
            return list(clip.permute(0, 2, 3, 4, 1))
        if len(shape) == 4 and shape[3] == 3:
            return [clip]
        if len(shape) == 4 and shape[0] == 3:
            return [clip.permute(1, 2, 3, 0)]
    raise InputError(f"clip: expected {_SHAPES}, got uint8 {shape}")
