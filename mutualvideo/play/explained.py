"""Videos and pictures with Grad-CAM drawn over them: what ``predict --explain`` writes."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from mutualvideo.errors import InputError
from mutualvideo.files import StrPath
from mutualvideo.media.encode import VideoWriter
from mutualvideo.runtime.class_map import class_map, require_captum
from mutualvideo.runtime.preprocess import prepare
from mutualvideo.runtime.recognizer import AdaptiveRecognizer
from mutualvideo.runtime.recorded import read_views
from mutualvideo.subnet import Subnet

# The map's share of a pixel where it is highest; even colours, which the colour-blind can tell.
_SHARE, _COLOURS = 0.6, "inferno"
_FPS = 8


class Explainer:
    """Draws what spoke for the class that one sub-network answered.

    Args:
        recognizer: of a run or checkpoint, with any backend: torch computes the map.
        subnet: which of its sub-networks: it is cut out, once.

    Raises:
        InputError: if captum is not installed, or there is no torch network to look into.
    """

    def __init__(self, recognizer: AdaptiveRecognizer, subnet: Subnet) -> None:
        require_captum()
        from mutualvideo.backends.common.over_network import NetworkBackend
        from mutualvideo.slim import extract

        backend = recognizer.backend
        if not isinstance(backend, NetworkBackend):
            raise InputError(
                f"Grad-CAM: {backend.name!r} runs exported files, through which there are no "
                "gradients: open the run or checkpoint"
            )
        self._executor, self._subnet = recognizer.executor, recognizer.executor.check(subnet)
        self._shape = backend.input_shape(subnet)
        self._network = extract(backend.model, subnet)

    def maps(self, clip: np.ndarray, target: int) -> tuple[np.ndarray, np.ndarray]:
        """The frames that the network saw, and their maps.

        Args:
            clip: uint8 array (T, H, W, 3).
            target: index of the class.

        Returns:
            uint8 (T, S, S, 3) and float32 (T', H', W') from 0 to 1; of pictures T and T' are 1.
        """
        import torch

        how = self._executor.preprocessing
        seen = prepare(clip, how, *self._shape)
        device = next(self._network.parameters()).device
        found = class_map(self._network, torch.from_numpy(seen[None]).to(device), target)
        if found.ndim == 2:
            seen, found = seen[:, None], found[None]
        mean, std = (np.reshape(value, (3, 1, 1, 1)) for value in (how.mean, how.std))
        pixels = np.clip(np.rint((seen * std + mean) * 255), 0, 255).astype(np.uint8)
        return pixels.transpose(1, 2, 3, 0), found

    def write(self, path: StrPath, folder: StrPath, target: int) -> Path:
        """The middle clip of a video, or a picture, with the map of ``target`` over it.

        Args:
            path: of the video or picture.
            folder: where it goes, as ``NAME.mp4``, of a picture ``NAME.png``; a name that is
                taken gets a number.

        Returns:
            The file that was written.

        Raises:
            DecodeError: if the file cannot be read.
        """
        (clip,) = self._executor.clips(read_views(path, self._executor.cfg))
        drawn = overlaid(*self.maps(clip, target))
        still = self._executor.preprocessing.num_frames is None
        goal = _free(Path(folder), Path(path).stem, ".png" if still else ".mp4")
        goal.parent.mkdir(parents=True, exist_ok=True)
        if still:
            Image.fromarray(drawn[0]).save(goal)
            return goal
        with VideoWriter(goal, _FPS) as writer:
            for frame in drawn:
                writer.write(frame)
        return goal


def overlaid(frames: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Frames with maps over them, dark where there is nothing.

    Args:
        frames: uint8 (T, H, W, 3).
        maps: float32 (T', H', W') from 0 to 1, stretched over the frames.

    Returns:
        uint8 (T, H, W, 3), H and W made even, as codecs want them.
    """
    count, height, width = frames.shape[:3]
    height, width = height - height % 2, width - width % 2
    if not height or not width:
        raise InputError(f"Grad-CAM: frames of {frames.shape[1:3]} pixels are too small to draw")
    colours = matplotlib.colormaps[_COLOURS]
    # Where the middles of frames lie among the middles of maps.
    at = np.clip((np.arange(count) + 0.5) * len(maps) / count - 0.5, 0, len(maps) - 1)
    low = np.floor(at).astype(int)
    high, part = np.minimum(low + 1, len(maps) - 1), (at - low)[:, None, None]
    drawn = np.empty((count, height, width, 3), np.uint8)
    for number, value in enumerate(maps[low] * (1 - part) + maps[high] * part):
        image = Image.fromarray(value.astype(np.float32))
        large = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))[..., None]
        over = colours(large[..., 0])[..., :3] * 255
        drawn[number] = frames[number, :height, :width] * (1 - _SHARE * large) + over * (
            _SHARE * large
        )
    return drawn


def _free(folder: Path, stem: str, ending: str) -> Path:
    goal, number = folder / f"{stem}{ending}", 2
    while goal.exists():
        goal, number = folder / f"{stem}-{number}{ending}", number + 1
    return goal
