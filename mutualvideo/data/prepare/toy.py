"""Small video data sets whose class is a motion: made from a seed, encoded as real h264.

The level ``easy`` is here, ``hard`` in :mod:`mutualvideo.data.prepare.toy_hard`.

Every video shows one shape over a drifting texture, with slower small shapes around it. The
state of the shape is four phases, each on a cycle: x and y (what leaves on one side comes in
on the other), the angle, and the logarithm of the size (from largest back to smallest). All
four start uniformly at random; the class decides which one moves, and in which direction. A
uniform phase that is shifted stays uniform, so at every instant the state has the same
distribution for every class: **no single frame tells the class, by construction**.
"""

import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from mutualvideo.data.prepare import toy_hard
from mutualvideo.data.prepare.toy_drawing import (
    OVERSAMPLING,
    draw_color,
    draw_distractor,
    draw_shape,
    draw_texture,
    draw_velocity,
    paint,
    turned,
)
from mutualvideo.errors import InputError
from mutualvideo.files import atomic_path
from mutualvideo.media.encode import VideoWriter

# As --motions takes them. Answers are read beside a score: "right (100 %)" is no name of a class.
MOTIONS = ("left", "right", "up", "down", "clockwise", "counter-clockwise", "grow", "shrink")
CLASSES = (
    *(f"moves {direction}" for direction in MOTIONS[:4]),
    *(f"turns {direction}" for direction in MOTIONS[4:6]),
    *("grows", "shrinks"),
)
SIZE, FPS, NUM_FRAMES = 128, 30, 60  # pixels, frames a second, frames
FILM_SIZE = 320
# Changes with the pixels that a seed gives; a folder of another version is not reused.
VERSION = 1

# class -> (which phase moves, direction). Phases: x to the right, y downwards, angle
# clockwise on the screen (because y points down), log size.
_X, _Y, _ANGLE, _LOG_SIZE = range(4)
_MOTION = (
    (_X, -1),
    (_X, 1),
    (_Y, -1),
    (_Y, 1),
    (_ANGLE, 1),
    (_ANGLE, -1),
    (_LOG_SIZE, 1),
    (_LOG_SIZE, -1),
)
# Cycles a video: below one cycle, four evenly spaced frames still show the direction.
_SPEEDS = (0.55, 0.9)
# Diameter of the shape over the side of the frame.
_EXTENTS = (0.22, 0.8)
# At least, and below.
_NUM_DISTRACTORS = (1, 3)
_X264 = {"crf": "20", "preset": "veryfast"}
# With macroblock-tree rate control, films of the same frames come out as other bytes from call to
# call (x264 165 with AVX-512; without assembly they do not).
_FILM_X264 = {**_X264, "x264-params": "mbtree=0"}


@dataclass(frozen=True)
class Level:
    """One kind of toy videos.

    Attributes:
        classes: names of the classes, by label.
        size: of the frames, in pixels.
        draw: the frames of (seed, label), an iterable of PIL images.
        options: of libx264.
        version: a folder of another one is not reused.
    """

    classes: tuple
    size: int
    draw: object
    options: dict
    version: int


def make_toy_dataset(output, train, val, seed, progress=None, workers=None, level="easy"):
    """Write a toy data set: ``train.csv``, ``val.csv``, ``classes.txt``, ``toy.json``, videos.

    Videos are h264 in mp4 at 30 fps, easy ones 60 frames of 128x128, hard ones 48 of 64x64, in
    ``output/train`` and ``output/val``; their classes are balanced. Each is a function of (seed,
    split, number) alone, so any number of processes writes the same bytes with the same
    libraries. ``toy.json`` is written last: a folder that holds it is complete.

    Args:
        output: folder, made if need be.
        train, val: number of videos, at least 1 each.
        seed: not negative.
        progress: show a bar; ``None``: if the standard error is a terminal.
        workers: processes; ``None``: one a CPU.
        level: one of ``LEVELS``.

    Returns:
        True if it wrote, False if the folder already held exactly this data set.

    Raises:
        InputError: for bad counts, an unknown level, a folder that holds a toy data set made with
            other arguments, or one that cannot be written.
    """
    output = Path(output)
    if min(train, val) < 1 or seed < 0:
        raise InputError(
            f"--train and --val must be at least 1 and --seed 0 or more: {train}, {val}, {seed}"
        )
    if level not in LEVELS:
        raise InputError(f"level {level!r} is unknown; choose from: {', '.join(LEVELS)}")
    classes = LEVELS[level].classes
    counts = {"train": train, "val": val}
    arguments = {"version": LEVELS[level].version, "seed": seed, **counts}
    if level != "easy":  # folders of the easy level do not say so: there was no other
        arguments["level"] = level
    jobs = [
        (output / split / f"{number:05d}.mp4", (seed, code, number), number % len(classes), level)
        for code, (split, count) in enumerate(counts.items())
        for number in range(count)
    ]
    require_own_folder(output)
    if holds(output, arguments) and all(path.exists() for path, *_ in jobs):
        return False
    _write_all(jobs, progress, workers)
    for split, count in counts.items():
        lines = [f"{split}/{n:05d}.mp4 {n % len(classes)}\n" for n in range(count)]
        _write_text(output / f"{split}.csv", "".join(lines))
    _write_text(output / "classes.txt", "".join(f"{name}\n" for name in classes))
    _write_text(output / "toy.json", json.dumps(arguments) + "\n")
    return True


def require_own_folder(output):
    """Raises InputError if there is something in a folder that no toy data set was begun in."""
    ours = {"train", "val", "train.csv", "val.csv", "classes.txt"}
    names = os.listdir(output) if output.is_dir() else []
    other = sorted(name for name in names if name not in ours and name[0] != ".")
    if other and "toy.json" not in names:
        raise InputError(
            f"{output}: holds {other[0]}, which is not of a toy data set: give another --output"
        )


def holds(output, arguments):
    """Whether a folder holds what ``arguments`` make, as its ``toy.json`` says.

    Raises:
        InputError: if it was made with others.
    """
    try:
        found = json.loads((output / "toy.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError, RecursionError):
        found = "something unreadable"
    if found != arguments:
        raise InputError(
            f"{output}/toy.json: this folder was made with other arguments ({found}); "
            "give another --output or delete the folder"
        )
    return True


def _write_all(jobs, progress, workers):
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    quiet = not (sys.stderr.isatty() if progress is None else progress)
    if workers == 1:
        for job in tqdm(jobs, desc="toy videos", unit="video", disable=quiet):
            write_video(*job)
        return
    with ProcessPoolExecutor(workers) as pool:
        done = pool.map(_write_job, jobs, chunksize=4)
        for _ in tqdm(done, total=len(jobs), desc="toy videos", unit="video", disable=quiet):
            pass


def _write_job(job):
    write_video(*job)


def _write_text(path, text):
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_video(path, seed, label, level="easy"):
    """Draw and encode one video; the file appears when it is whole.

    Args:
        path: the mp4 file.
        seed: int or tuple of ints; with the label it decides every byte.
        label: class index.
        level: one of ``LEVELS``.
    """
    kind = LEVELS[level]
    _encode(path, kind.draw(seed, label), kind.options)


def write_film(path, labels, seconds=3.0, seed=0):
    """Draw and encode one shape whose motion changes; larger than the videos of the data set.

    Args:
        path: the mp4 file, ``FILM_SIZE`` x ``FILM_SIZE``; it appears when it is whole.
        labels: class indices, one motion after the other.
        seconds: how long each lasts; a clip of the network should fit in.
        seed: int or tuple of ints.

    Raises:
        InputError: for a label that is none, or no frame at all.
    """
    frames = round(seconds * FPS)
    if not labels or frames < 1 or not all(0 <= label < len(CLASSES) for label in labels):
        raise InputError(
            f"film: give motions of 0 to {len(CLASSES) - 1} and seconds above 0, "
            f"not {list(labels)} and {seconds}"
        )
    if isinstance(seed, int) and seed < 0:
        raise InputError(f"--seed must be 0 or more, not {seed}")
    rng = np.random.default_rng(seed)
    states = film_states(rng, labels, frames)
    _encode(path, _draw_scene(rng, states, FILM_SIZE), _FILM_X264)


def _encode(path, images, options):
    # One thread: x264 gives other bytes with other numbers of threads.
    options = {**options, "threads": "1"}
    with (
        atomic_path(path) as temporary,
        VideoWriter(temporary, FPS, options=options, form="mp4") as writer,
    ):
        for image in images:
            writer.write(image)


def draw_frames(seed, label):
    """The frames of one video: yields ``NUM_FRAMES`` PIL images, RGB, ``SIZE`` x ``SIZE``."""
    rng = np.random.default_rng(seed)
    return _draw_scene(rng, main_states(rng, label), SIZE)


def _draw_scene(rng, states, size):
    """The main shape in its states (frames, 4), over all that moves on its own."""
    outline, color = draw_shape(rng), draw_color(rng)
    distractors = [draw_distractor(rng) for _ in range(rng.integers(*_NUM_DISTRACTORS))]
    side = size * OVERSAMPLING
    texture, drift = draw_texture(rng, side), draw_velocity(rng, 0.1, 0.4)
    for frame, state in enumerate(states):
        shift = np.rint(drift * frame / NUM_FRAMES * side).astype(int)
        image = Image.fromarray(np.roll(texture, shift[::-1], axis=(0, 1)))
        canvas = ImageDraw.Draw(image)
        for points, fill, start, velocity in distractors:
            paint(canvas, side, points, fill, start + velocity * frame / NUM_FRAMES)
        paint(canvas, side, _pose(outline, state), color, state[:2])
        yield image.reduce(OVERSAMPLING)


def film_states(rng, labels, frames):
    """The four phases over motions of ``frames`` each: one takes over where the last one ends.

    Returns:
        float64 array (len(labels) * frames, 4), as :func:`main_states`.
    """
    steps = np.zeros((len(labels) * frames, 4))
    steps[0] = rng.random(4)
    for number, label in enumerate(labels):
        which, direction = _MOTION[label]
        # The first frame of all stands; every later one is a step from that before it.
        mine = slice(max(1, number * frames), (number + 1) * frames)
        steps[mine, which] = direction * rng.uniform(*_SPEEDS) / NUM_FRAMES
    return steps.cumsum(axis=0) % 1.0


def main_states(rng, label):
    """The four phases of the main shape over a video.

    Args:
        rng: ``numpy.random.Generator``; what is drawn from it does not depend on the label.
        label: class index.

    Returns:
        float64 array (NUM_FRAMES, 4) of x, y, angle and log size, each from 0 to below 1.
    """
    phases, speed = rng.random(4), rng.uniform(*_SPEEDS)
    which, direction = _MOTION[label]
    states = np.tile(phases, (NUM_FRAMES, 1))
    states[:, which] += direction * speed * np.arange(NUM_FRAMES) / NUM_FRAMES
    return states % 1.0


def _pose(outline, state):
    low, high = _EXTENTS
    return low * (high / low) ** state[_LOG_SIZE] * turned(outline, state[_ANGLE])


LEVELS = {
    "easy": Level(CLASSES, SIZE, draw_frames, _X264, VERSION),
    "hard": Level(
        toy_hard.CLASSES,
        toy_hard.SIZE,
        toy_hard.draw_hard_frames,
        toy_hard.X264,
        toy_hard.VERSION,
    ),
}
