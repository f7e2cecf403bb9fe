"""Pictures and videos in, the same with what a detector found drawn on them out."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from mutualvideo.errors import InputError
from mutualvideo.files import StrPath, atomic_path
from mutualvideo.media import DecodeError
from mutualvideo.media.picture_reader import PictureReader
from mutualvideo.media_kind import VIDEO_ENDINGS
from mutualvideo.play.capture import SourceError, open_source
from mutualvideo.play.file_answers import files_of
from mutualvideo.play.film import film
from mutualvideo.runtime.adaptive_detector import AdaptiveDetector
from mutualvideo.runtime.detections import Detections

# Colours of classes, by turns, that are told apart on most pictures.
_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")
_MASKS = 0.4


def with_boxes(pixels: np.ndarray, found: Detections) -> np.ndarray:
    """``pixels`` with boxes, names, scores and, where there are any, masks drawn on them.

    Args:
        pixels: uint8 (H, W, 3), RGB; it is not written to.
        found: what is drawn, all of it; :meth:`Detections.above` leaves out what is unsure.

    Returns:
        uint8 array (H, W, 3).
    """
    picture = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)
    if not len(found):
        return np.array(pixels)
    colours = [_COLOURS[int(label) % len(_COLOURS)] for label in found.labels]
    if found.masks is not None:
        masks = torch.from_numpy(found.masks)
        picture = draw_segmentation_masks(picture, masks, alpha=_MASKS, colors=colours)
    texts = [f"{name} {score:.2f}" for name, score in zip(found.names, found.scores, strict=True)]
    boxes, width = torch.from_numpy(found.boxes), max(1, min(pixels.shape[:2]) // 200)
    picture = draw_bounding_boxes(picture, boxes, texts, colours, width=width)
    return picture.permute(1, 2, 0).numpy()


def as_line(path: StrPath, found: Detections, time_s: float | None = None) -> str:
    """What was found as one line of JSON: boxes x1 y1 x2 y2 in pixels, names, scores, costs."""
    about: dict[str, Any] = {"path": str(path)}
    if time_s is not None:
        about["time_s"] = round(time_s, 3)
    about |= {"subnet": str(found.subnet), "latency_ms": round(found.latency_ms, 3)}
    objects = [
        {"name": name, "score": round(float(score), 4), "box": np.round(box, 1).tolist()}
        for name, score, box in zip(found.names, found.scores, found.boxes, strict=True)
    ]
    return json.dumps({**about, "objects": objects})


def draw_files(
    detector: AdaptiveDetector, paths: Sequence[StrPath], folder: StrPath, threshold: float
) -> Iterator[str]:
    """Draws on copies of pictures (png) and videos (mp4) in ``folder``, by the same names.

    A file that cannot be read is told, and the others follow.

    Args:
        detector: whose budget is set.
        paths: files; of folders the pictures and videos in them, by name.
        folder: where to, made if need be.
        threshold: scores below it, from 0 to 1, are left out.

    Yields:
        :func:`as_line` of every picture and frame; ``{"path": ..., "error": ...}`` of a file that
        cannot be read.

    Raises:
        InputError: for a file that is missing, two of one name, one that its own copy would take
            the place of, or a threshold that no score can be held against.
    """
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold {threshold:g}: scores are from 0 to 1")
    files = files_of(paths, pictures=True, videos=True)
    targets = [
        Path(folder, f"{file.stem}{'.mp4' if _is_video(file) else '.png'}") for file in files
    ]
    for file, target in zip(files, targets, strict=True):
        if targets.count(target) > 1:
            raise InputError(f"{file}: another file would become {target} too; rename one of them")
        if target.exists() and any(target.samefile(one) for one in files):
            raise InputError(
                f"{target}: is one of the files to draw on, choose another output folder"
            )
    Path(folder).mkdir(parents=True, exist_ok=True)
    for file, target in zip(files, targets, strict=True):
        try:
            yield from (_draw_video if _is_video(file) else _draw_picture)(
                detector, file, target, threshold
            )
        except (DecodeError, SourceError) as error:
            yield json.dumps({"path": str(file), "error": str(error)})


def _draw_picture(
    detector: AdaptiveDetector, file: Path, target: Path, threshold: float
) -> Iterator[str]:
    with PictureReader(file) as reader:
        (pixels,) = reader.read([0])
    found = detector.predict(pixels).above(threshold)
    with atomic_path(target) as temporary:
        _save(with_boxes(np.asarray(pixels), found), temporary)
    yield as_line(file, found)


def _draw_video(
    detector: AdaptiveDetector, file: Path, target: Path, threshold: float
) -> Iterator[str]:
    # Boxes are told in the pixels of the file.
    source = open_source(file, max_short_side=sys.maxsize)
    with source, atomic_path(target) as temporary, film(temporary, source.fps) as writer:
        for time_s, frame in source.frames(lambda *_: None, threading.Event()):
            found = detector.predict(frame).above(threshold)
            drawn = with_boxes(frame, found)
            height, width = (side // 2 * 2 for side in drawn.shape[:2])  # h264 wants even sides
            writer.write(np.ascontiguousarray(drawn[:height, :width]), time_s)
            yield as_line(file, found, time_s)


def _save(pixels: np.ndarray, path: Path) -> None:
    from PIL import Image

    Image.fromarray(pixels).save(path, "png")


def _is_video(file: Path) -> bool:
    return file.suffix.lower() in VIDEO_ENDINGS
