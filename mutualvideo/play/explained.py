"""Videos and pictures with Grad-CAM drawn over them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mutualvideo.errors import InputError
from mutualvideo.files import StrPath
from mutualvideo.media.encode import VideoWriter
from mutualvideo.runtime.explainer import Explainer
from mutualvideo.runtime.preprocess import Preprocessing, seen_region
from mutualvideo.runtime.recorded import read_views
from mutualvideo.subnet import Subnet

# The map's share of a pixel where it is highest; even colours, which the colour-blind can tell.
_SHARE, _COLOURS = 0.6, "inferno"
_FPS = 8


@dataclass(frozen=True)
class MapOverTime:
    """The map of one clip, drawn on frames of the film that the clip is from.

    Args:
        maps: float32 (T', H', W') from 0 to 1.
        start_s, end_s: when the clip begins and ends; before and after, the nearest map holds.
        preprocessing: which part of a frame the network saw.
    """

    maps: np.ndarray
    start_s: float
    end_s: float
    preprocessing: Preprocessing

    def over(self, time_s: float, frame: np.ndarray) -> np.ndarray:
        """A new frame, uint8 (H, W, 3), with the map of ``time_s`` where the network looked."""
        share = (time_s - self.start_s) / max(self.end_s - self.start_s, 1e-9)
        height, width = frame.shape[:2]
        top, left, side = seen_region(height, width, self.preprocessing)
        drawn = frame.copy()
        region = drawn[top : top + side, left : left + side]
        region[:] = blended(region, map_at(self.maps, share))
        return drawn


def write_explained(
    explainer: Explainer, subnet: Subnet, path: StrPath, folder: StrPath, target: int
) -> Path:
    """Writes the middle clip of a video, or a picture, with the map of ``target`` over it.

    Args:
        explainer: an :class:`~mutualvideo.runtime.explainer.Explainer`.
        subnet: whose map.
        path: of the video or picture.
        folder: where it goes, as ``NAME.mp4``, of a picture ``NAME.png``; a name that is taken
            gets a number.
        target: index of the class.

    Returns:
        The file that was written.

    Raises:
        DecodeError: if the file cannot be read.
    """
    executor = explainer.executor
    (clip,) = executor.clips(read_views(path, executor.cfg, segments=executor.segments))
    drawn = overlaid(*explainer.maps(subnet, clip, target))
    still = explainer.preprocessing.num_frames is None
    goal = _free(Path(folder), Path(path).stem, ".png" if still else ".mp4")
    goal.parent.mkdir(parents=True, exist_ok=True)
    if still:
        Image.fromarray(drawn[0]).save(goal)
        return goal
    height, width = (length - length % 2 for length in drawn.shape[1:3])
    if not height or not width:
        raise InputError(f"Grad-CAM: frames of {drawn.shape[1:3]} pixels are too small for a film")
    with VideoWriter(goal, _FPS) as writer:
        for frame in drawn:
            # Codecs want even lengths.
            writer.write(frame[:height, :width])
    return goal


def overlaid(frames: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Frames with maps over them, dark where there is nothing.

    Args:
        frames: uint8 (T, H, W, 3).
        maps: float32 (T', H', W') from 0 to 1, stretched over the frames.

    Returns:
        uint8 (T, H, W, 3).
    """
    shares = (np.arange(len(frames)) + 0.5) / len(frames)
    return np.stack(
        [blended(frame, map_at(maps, share)) for frame, share in zip(frames, shares, strict=True)]
    )


def map_at(maps: np.ndarray, share: float) -> np.ndarray:
    """The map (H', W') at a share of the clip's time, from 0 to 1, between the two around it."""
    place = float(np.clip(share * len(maps) - 0.5, 0, len(maps) - 1))
    low = int(place)
    high, part = min(low + 1, len(maps) - 1), place - low
    return maps[low] * (1 - part) + maps[high] * part


def blended(frame: np.ndarray, found: np.ndarray) -> np.ndarray:
    """A uint8 frame (H, W, 3) under a map float32 (H', W') from 0 to 1."""
    # Films without maps are made where there is no matplotlib.
    from matplotlib import colormaps

    height, width = frame.shape[:2]
    image = Image.fromarray(found.astype(np.float32))
    large = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))[..., None]
    over = colormaps[_COLOURS](large[..., 0])[..., :3] * 255
    return (frame * (1 - _SHARE * large) + over * (_SHARE * large)).astype(np.uint8)


def _free(folder: Path, stem: str, ending: str) -> Path:
    goal, number = folder / f"{stem}{ending}", 2
    while goal.exists():
        goal, number = folder / f"{stem}-{number}{ending}", number + 1
    return goal
