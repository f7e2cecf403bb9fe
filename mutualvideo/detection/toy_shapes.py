"""A small data set for detection: coloured shapes on textured ground, COCO json with masks."""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from mutualvideo.data.prepare.toy import holds
from mutualvideo.data.prepare.toy_drawing import draw_color, draw_texture, shapes, turned
from mutualvideo.errors import InputError
from mutualvideo.files import atomic_path

CLASSES = ("arrow", "ell", "wedge", "half disc", "flag", "tee")
SIZE = 128  # pixels
# Changes with the pixels that a seed gives; a folder of another version is not reused.
VERSION = 2
# Diameter over the side of the picture, and shapes a picture: at least, and below.
_EXTENTS = (0.3, 0.7)
_COUNTS = (1, 4)
# Turns at most, either way. Of shapes that are turned anyhow a small detector soon has the boxes,
# but takes many times as long to tell the classes apart.
_TURNS = 1 / 24
# Pictures are drawn this much larger and averaged, and a mask is where a shape covers half.
_OVERSAMPLING = 4
# A shape that others cover to less than this is not drawn.
_VISIBLE = 0.5


def make_toy_detection(output, train, val, seed, progress=None):
    """Write ``train.json``, ``val.json`` (COCO), ``toy.json``, and the pictures they name.

    Pictures are PNG files of 128x128 in ``output/train`` and ``output/val``, with 1 to 3 shapes of
    6 classes, 38 to 90 pixels long (boxes of 16 to 71, as the side of a square) and upright to 15
    degrees either way; later shapes lie over earlier ones, and boxes and masks are of what is
    visible. Each is a function of (seed, split, number) alone. ``toy.json`` is written last: a
    folder that holds it is complete.

    Args:
        output: folder, made if need be.
        train, val: number of pictures, at least 1 each.
        seed: not negative.
        progress: show a bar; ``None``: if the standard error is a terminal.

    Returns:
        True if it wrote, False if the folder already held exactly this data set.

    Raises:
        InputError: for bad counts, or a folder that holds another toy data set.
    """
    output = Path(output)
    if min(train, val) < 1 or seed < 0:
        raise InputError(
            f"--train and --val must be at least 1 and --seed 0 or more: {train}, {val}, {seed}"
        )
    made = {"version": VERSION, "task": "detection", "seed": seed, "train": train, "val": val}
    if holds(output, made):
        return False
    quiet = not (sys.stderr.isatty() if progress is None else progress)
    with tqdm(total=train + val, desc="toy pictures", unit="picture", disable=quiet) as bar:
        for code, (split, count) in enumerate((("train", train), ("val", val))):
            (output / split).mkdir(parents=True, exist_ok=True)
            _write_split(output, split, [(seed, code, number) for number in range(count)], bar)
    _write(output / "toy.json", made)
    return True


def _write_split(output, split, seeds, bar):
    images, annotations = [], []
    for number, seed in enumerate(seeds, 1):
        picture, objects = draw_scene(seed)
        name = f"{split}/{number:05d}.png"
        picture.save(output / name)
        images.append({"id": number, "file_name": name, "width": SIZE, "height": SIZE})
        for label, mask in objects:
            box, runs = _box(mask), run_lengths(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": box,
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                    "segmentation": {"size": [SIZE, SIZE], "counts": runs},
                }
            )
        bar.update()
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)]
    content = {"images": images, "categories": categories, "annotations": annotations}
    _write(output / f"{split}.json", content)


def _write(path, content):
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")


def draw_scene(seed):
    """One picture.

    Args:
        seed: int or tuple of ints; it decides every pixel.

    Returns:
        (PIL picture, RGB, ``SIZE`` x ``SIZE``; list of (class index, bool mask (SIZE, SIZE) of what
        is visible)), at least one.
    """
    rng = np.random.default_rng(seed)
    side = SIZE * _OVERSAMPLING
    ground = Image.fromarray(draw_texture(rng, SIZE)).resize((side, side), Image.Resampling.BICUBIC)
    canvas, covered, outlines = ImageDraw.Draw(ground), [], shapes()
    for _ in range(rng.integers(*_COUNTS)):
        label, color = int(rng.integers(len(outlines))), draw_color(rng)
        extent = _EXTENTS[0] * (_EXTENTS[1] / _EXTENTS[0]) ** rng.random()
        points = turned(outlines[label], rng.uniform(-_TURNS, _TURNS)) * extent
        # Wholly inside: what is cut off at the edge may look like another class.
        low, high = -points.min(axis=0), 1 - points.max(axis=0)
        points = points + low + rng.random(2) * (high - low)
        corners = [tuple(corner) for corner in (points * side).tolist()]
        layer = Image.new("L", (side, side))
        ImageDraw.Draw(layer).polygon(corners, fill=255)
        mask = np.asarray(layer.reduce(_OVERSAMPLING)) >= 128
        left = [(old & ~mask).sum() / whole for _, old, whole in covered]
        if min(left, default=1.0) < _VISIBLE:
            continue
        canvas.polygon(corners, fill=color)
        covered = [(one, old & ~mask, whole) for one, old, whole in covered]
        covered.append((label, mask, mask.sum()))
    return ground.reduce(_OVERSAMPLING), [(label, mask) for label, mask, _ in covered]


def _box(mask):
    """[x, y, width, height] of the pixels that are set."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]


def run_lengths(mask):
    """COCO's run lengths: pixels off, on, off, ... down the columns, the first may be 0."""
    pixels = np.concatenate(([0], mask.ravel(order="F").astype(np.int8)))
    changes = np.flatnonzero(np.diff(pixels))
    return np.diff(np.concatenate(([0], changes, [mask.size]))).tolist()
