"""A small video data set whose class is a motion: made from a seed, encoded as real h264.

Every video shows one shape over a drifting texture, with slower small shapes around it. The
state of the shape is four phases, each on a cycle: x and y (what leaves on one side comes in
on the other), the angle, and the logarithm of the size (from largest back to smallest). All
four start uniformly at random; the class decides which one moves, and in which direction. A
uniform phase that is shifted stays uniform, so at every instant the state has the same
distribution for every class: **no single frame tells the class, by construction**.
"""

import functools
import json
import math
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from mutualvideo.errors import InputError
from mutualvideo.files import atomic_path
from mutualvideo.media.encode import VideoWriter

CLASSES = ("left", "right", "up", "down", "clockwise", "counter-clockwise", "grow", "shrink")
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
# Frames are drawn this much larger and averaged, for smooth edges and half-pixel motion.
_OVERSAMPLING = 2


def make_toy_dataset(output, train, val, seed, progress=None, workers=None):
    """Write the toy data set: ``train.csv``, ``val.csv``, ``classes.txt``, ``toy.json``, videos.

    Videos are h264 in mp4, 128x128, 30 fps, 60 frames, in ``output/train`` and ``output/val``;
    their classes are balanced. Each is a function of (seed, split, number) alone, so any
    number of processes writes the same bytes with the same libraries. ``toy.json`` is written
    last: a folder that holds it is complete.

    Args:
        output: folder, made if need be.
        train, val: number of videos, at least 1 each.
        seed: not negative.
        progress: show a bar; ``None``: if the standard error is a terminal.
        workers: processes; ``None``: one a CPU.

    Returns:
        True if it wrote, False if the folder already held exactly this data set.

    Raises:
        InputError: for bad counts, a folder that holds a toy data set made with other
            arguments, or one that cannot be written.
    """
    output = Path(output)
    if min(train, val) < 1 or seed < 0:
        raise InputError(
            f"--train and --val must be at least 1 and --seed 0 or more: {train}, {val}, {seed}"
        )
    counts = {"train": train, "val": val}
    arguments = {"version": VERSION, "seed": seed, **counts}
    jobs = [
        (output / split / f"{number:05d}.mp4", (seed, code, number), number % len(CLASSES))
        for code, (split, count) in enumerate(counts.items())
        for number in range(count)
    ]
    if _holds(output, arguments) and all(path.exists() for path, _, _ in jobs):
        return False
    _write_all(jobs, progress, workers)
    for split, count in counts.items():
        lines = [f"{split}/{n:05d}.mp4 {n % len(CLASSES)}\n" for n in range(count)]
        _write_text(output / f"{split}.csv", "".join(lines))
    _write_text(output / "classes.txt", "".join(f"{name}\n" for name in CLASSES))
    _write_text(output / "toy.json", json.dumps(arguments) + "\n")
    return True


def _holds(output, arguments):
    try:
        found = json.loads((output / "toy.json").read_text())
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


def write_video(path, seed, label):
    """Draw and encode one video; the file appears when it is whole.

    Args:
        path: the mp4 file.
        seed: int or tuple of ints; with the label it decides every byte.
        label: class index.
    """
    _encode(path, draw_frames(seed, label))


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
    rng = np.random.default_rng(seed)
    states = film_states(rng, labels, frames)
    _encode(path, _draw_scene(rng, states, FILM_SIZE))


def _encode(path, images):
    # One thread: x264 gives other bytes with other numbers of threads.
    options = {"crf": "20", "preset": "veryfast", "threads": "1"}
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
    outline, color = _draw_shape(rng), _draw_color(rng)
    distractors = [_draw_distractor(rng) for _ in range(rng.integers(*_NUM_DISTRACTORS))]
    side = size * _OVERSAMPLING
    texture, drift = _draw_texture(rng, side), _draw_velocity(rng, 0.1, 0.4)
    for frame, state in enumerate(states):
        shift = np.rint(drift * frame / NUM_FRAMES * side).astype(int)
        image = Image.fromarray(np.roll(texture, shift[::-1], axis=(0, 1)))
        canvas = ImageDraw.Draw(image)
        for points, fill, start, velocity in distractors:
            _paint(canvas, side, points, fill, start + velocity * frame / NUM_FRAMES)
        _paint(canvas, side, _pose(outline, state), color, state[:2])
        yield image.reduce(_OVERSAMPLING)


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
    return low * (high / low) ** state[_LOG_SIZE] * _turned(outline, state[_ANGLE])


def _paint(canvas, side, points, color, position):
    """A polygon around ``position`` on the torus; both in units of the canvas's side (pixels)."""
    position = position % 1.0
    low, high = position + points.min(axis=0), position + points.max(axis=0)
    # Every copy that reaches into the frame, so that what leaves comes in opposite.
    for dx in range(math.floor(-high[0]) + 1, math.ceil(1 - low[0])):
        for dy in range(math.floor(-high[1]) + 1, math.ceil(1 - low[1])):
            corners = (points + position + (dx, dy)) * side
            canvas.polygon([tuple(corner) for corner in corners.tolist()], fill=color)


def _draw_distractor(rng):
    points = rng.uniform(0.07, 0.11) * _turned(_draw_shape(rng), rng.random())
    return points, _draw_color(rng), rng.random(2), _draw_velocity(rng, 0.05, 0.2)


def _turned(outline, phase):
    # y points down, so this turns clockwise on the screen as the phase grows.
    turn = 2 * math.pi * phase
    return outline @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])


def _draw_velocity(rng, slowest, fastest):
    """Frame sides a video, in any direction."""
    angle, speed = 2 * math.pi * rng.random(), rng.uniform(slowest, fastest)
    return speed * np.array([math.cos(angle), math.sin(angle)])


def _draw_color(rng):
    """A bright, saturated colour: one channel high, one low, one between."""
    channels = [rng.integers(220, 256), rng.integers(120, 256), rng.integers(0, 80)]
    return tuple(int(channel) for channel in rng.permutation(channels))


def _draw_texture(rng, side):
    """Periodic smooth noise of low contrast around a random grey: uint8 (side, side, 3)."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)) * side
    spectrum = np.exp(-((frequency / 4) ** 2))[..., None]
    noise = np.fft.rfft2(rng.standard_normal((side, side, 3)), axes=(0, 1)) * spectrum
    noise = np.fft.irfft2(noise, s=(side, side), axes=(0, 1))
    noise *= 10 / noise.std()
    return np.clip(rng.uniform(40, 100) + noise, 0, 255).astype(np.uint8)


def _draw_shape(rng):
    shapes = _shapes()
    return shapes[rng.integers(len(shapes))]


@functools.cache
def _shapes():
    """Outlines around their centre, diameter 1: none looks the same after less than a turn."""
    arc = np.linspace(0, math.pi, 13)
    outlines = {
        "arrow": [(0, -3), (2, -0.5), (0.8, -0.5), (0.8, 3), (-0.8, 3), (-0.8, -0.5), (-2, -0.5)],
        "ell": [(-1.5, -3), (0, -3), (0, 1.5), (2.5, 1.5), (2.5, 3), (-1.5, 3)],
        "wedge": [(0, -3), (1.4, 2.4), (-1.4, 2.4)],
        "half disc": list(zip(np.cos(arc), np.sin(arc), strict=True)),
        "flag": [(-1, -3), (2.5, -1.5), (0, -0.4), (0, 3), (-1, 3)],
        "tee": [
            (-2.5, -3),
            (2.5, -3),
            (2.5, -1.5),
            (0.8, -1.5),
            (0.8, 3),
            (-0.8, 3),
            (-0.8, -1.5),
            (-2.5, -1.5),
        ],
    }
    return [_normalised(np.array(points, dtype=float)) for points in outlines.values()]


def _normalised(points):
    points = points - (points.min(axis=0) + points.max(axis=0)) / 2
    return points / (2 * np.hypot(*points.T).max())
