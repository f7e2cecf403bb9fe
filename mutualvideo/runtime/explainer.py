"""Where the sub-networks of a recogniser saw what they answered."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from mutualvideo.errors import InputError
from mutualvideo.runtime.class_map import class_map, require_captum
from mutualvideo.runtime.preprocess import Preprocessing, prepare
from mutualvideo.runtime.recognizer import AdaptiveRecognizer
from mutualvideo.subnet import Subnet

if TYPE_CHECKING:
    from torch import nn

# Sub-networks that stay cut out.
_KEPT = 4


class Explainer:
    """Grad-CAM through the sub-networks of a recogniser. Many threads may ask at once.

    Args:
        recognizer: of a run or checkpoint, with any backend: torch computes the maps.

    Raises:
        InputError: if captum is not installed, or there is no torch network to look into.
    """

    def __init__(self, recognizer: AdaptiveRecognizer) -> None:
        require_captum()
        from mutualvideo.backends.common.over_network import NetworkBackend

        backend = recognizer.backend
        if not isinstance(backend, NetworkBackend):
            raise InputError(
                f"Grad-CAM: {backend.name!r} runs exported files, through which there are no "
                "gradients: open the run or checkpoint"
            )
        self._backend, self.executor = backend, recognizer.executor
        self._networks: OrderedDict[Subnet, nn.Module] = OrderedDict()
        # Hooks and gradients are a network's own: one question at a time.
        self._lock = threading.Lock()

    @property
    def preprocessing(self) -> Preprocessing:
        return self.executor.preprocessing

    def maps(self, subnet: Subnet, clip: np.ndarray, target: int) -> tuple[np.ndarray, np.ndarray]:
        """The frames that a sub-network sees of a clip, and how much each place spoke for a class.

        Args:
            subnet: a sub-network of the recogniser's; it is cut out at its first question.
            clip: uint8 array (T, H, W, 3).
            target: index of the class.

        Returns:
            uint8 (T, S, S, 3) and float32 (T', H', W') from 0 to 1; of pictures T and T' are 1.

        Raises:
            InputError: if the sub-network was never calibrated, or see
                :func:`~mutualvideo.runtime.class_map.last_block`.
        """
        import torch

        seen = prepare(clip, self.preprocessing, *self._backend.input_shape(subnet))
        with self._lock:
            network = self._network(self.executor.check(subnet))
            device = next(network.parameters()).device
            found = class_map(network, torch.from_numpy(seen[None]).to(device), target)
        if found.ndim == 2:
            seen, found = seen[:, None], found[None]
        look = self.preprocessing.mean, self.preprocessing.std
        mean, std = (np.reshape(value, (3, 1, 1, 1)) for value in look)
        pixels = np.clip(np.rint((seen * std + mean) * 255), 0, 255).astype(np.uint8)
        return pixels.transpose(1, 2, 3, 0), found

    def _network(self, subnet: Subnet) -> nn.Module:
        from mutualvideo.slim import extract

        if subnet not in self._networks:
            self._networks[subnet] = extract(self._backend.model, subnet)
        self._networks.move_to_end(subnet)
        if len(self._networks) > _KEPT:
            self._networks.popitem(last=False)
        return self._networks[subnet]
