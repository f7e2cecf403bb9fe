"""The slimmable network itself, switched in place: one copy of the weights."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from mutualvideo.backends.common.base import BackendKind, Runner, Shape
from mutualvideo.backends.common.forking import survives_fork
from mutualvideo.subnet import Subnet

if TYPE_CHECKING:
    from torch import nn


class InPlace(BackendKind):
    """Runners that share the network and take turns; switching is O(1) and copies nothing."""

    name = "torch"
    packages = ("torch",)
    immediate = True
    gives_features = True

    def __init__(
        self, device: str | None = None, precision: str = "fp32", threads: int | None = None
    ) -> None:
        from mutualvideo.backends.common.over_network import check_torch

        self._torch_device = check_torch(self.name, device, precision)
        super().__init__(str(self._torch_device), precision, threads)
        self.after_fork()
        survives_fork(self)

    def after_fork(self) -> None:
        """In a new process nobody holds the lock; there the thread that did has no copy."""
        self._lock = threading.Lock()

    def place(self, model: nn.Module) -> nn.Module:
        from mutualvideo.slim import place

        return place(model, self._torch_device)

    def run_subnet(self, model: nn.Module, subnet: Subnet, shape: Shape) -> Runner:
        return InPlaceRunner(self, model, subnet, shape)

    def run(
        self, model: nn.Module, clips: np.ndarray, subnet: Subnet, several_labels: bool = False
    ) -> np.ndarray:
        """Softmax scores of ``clips`` as ``subnet``, or sigmoids."""
        from mutualvideo.backends.common.over_network import on_device, scores_of

        with self._turn(model, subnet):
            return scores_of(model(on_device(clips, self._torch_device)), several_labels)

    def run_with_features(
        self, model: nn.Module, clips: np.ndarray, subnet: Subnet, several_labels: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """What :meth:`run` gives, and float32 features (B, D)."""
        from mutualvideo.backends.common.final_features import logits_and_features
        from mutualvideo.backends.common.over_network import on_device, scores_of

        with self._turn(model, subnet):
            logits, features = logits_and_features(model, on_device(clips, self._torch_device))
            return scores_of(logits, several_labels), features.cpu().numpy()

    @contextmanager
    def _turn(self, model: nn.Module, subnet: Subnet) -> Iterator[None]:
        """The network is this call's alone, and ``subnet``."""
        import torch

        from mutualvideo.backends.common.over_network import DTYPES
        from mutualvideo.slim import set_subnet, slim_state

        half = self.precision != "fp32"
        with (
            self._lock,
            torch.inference_mode(),
            torch.autocast(self._torch_device.type, DTYPES[self.precision], enabled=half),
        ):
            if slim_state(model).subnet != subnet:
                # Not in every call: layers keep what they cut out until the next switch.
                set_subnet(model, subnet)
            yield


class InPlaceRunner(Runner):
    """Runs the shared network as one sub-network."""

    takes_several = True

    def __init__(self, kind: InPlace, model: nn.Module, subnet: Subnet, shape: Shape) -> None:
        super().__init__(subnet, shape)
        self._kind, self._model = kind, model

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        return self._kind.run(self._model, clips, self.subnet, self.several_labels)

    def with_features(self, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._kind.run_with_features(self._model, clips, self.subnet, self.several_labels)
