"""The hard level of the toy videos: 20 classes in which frames, pixels and channels count.

As in the easy level, a shape has four phases, each on a cycle (x, y, angle, log size), all start
uniformly at random, and the class decides how they move; so no single frame tells the class.
Sixteen classes are a motion and its speed, slow or fast: with few frames a fast motion may as well
be one the other way round (a wagon wheel). Four are two motions one after the other, whose order
is the class: both orders begin and end alike, and what lies between tells them apart. The scene
has little contrast, other shapes, noise, a camera that shakes, and bars in front of it.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from mutualvideo.data.prepare.toy_drawing import (
    OVERSAMPLING,
    draw_shape,
    draw_texture,
    draw_velocity,
    paint,
    turned,
)

SIZE, NUM_FRAMES = 64, 48  # pixels, frames
# Changes with the pixels that a seed gives.
VERSION = 1
# Quick to decode: three of four frames are referred to by no other and skipped unless asked for.
# Without lookahead: of frames below 128 pixels it reads memory that was never written, and the same
# frames then give other bytes at each call (x264 165 with AVX-512).
X264 = {
    "crf": "30",
    "preset": "veryfast",
    "tune": "fastdecode",
    "x264-params": "bframes=3:b-adapt=0:b-pyramid=none:scenecut=0:keyint=48:"
    "mbtree=0:rc-lookahead=0",
}

_X, _Y, _ANGLE, _LOG_SIZE = range(4)
_MOTIONS = {
    "left": (_X, -1),
    "right": (_X, 1),
    "up": (_Y, -1),
    "down": (_Y, 1),
    "clockwise": (_ANGLE, 1),
    "counter-clockwise": (_ANGLE, -1),
    "grow": (_LOG_SIZE, 1),
    "shrink": (_LOG_SIZE, -1),
}
# Cycles from the first frame to the last. At the most, 8 evenly spaced frames are a fifth of a
# cycle apart, 4 nearly half.
_SPEEDS = {"slow": (0.35, 0.5), "fast": (0.9, 1.35)}
# Pairs of motions; both orders are a class.
_PAIRS = (
    ("right", "up"),
    ("clockwise", "grow"),
)
# Cycles that each of the two makes, and the share of the video after which the second begins.
_PAIR_CYCLES = (0.4, 0.65)
_PAIR_SWITCH = (0.4, 0.6)
CLASSES = (
    *(f"{motion} {speed}" for motion in _MOTIONS for speed in _SPEEDS),
    *(f"{a} then {b}" for pair in _PAIRS for a, b in (pair, pair[::-1])),
)

# Diameters of the shape, and of the others, over the side of the frame.
_EXTENTS = (0.3, 0.8)
_OTHER_EXTENTS = (0.1, 0.15)
_NUM_OTHERS = (0, 3)  # at least, and below
# Grey levels between the shape and the mean of the background; the least of the three channels.
_CONTRAST = (80, 130)
_TEXTURE_SPREAD = 10
# Grey levels, of blobs of this many pixels.
_NOISE, _NOISE_GRAIN = 6, 4
# Of the camera: standard deviation over the side of the frame, and what is left of it a frame on.
_SHAKE, _SHAKE_MEMORY = 0.012, 0.7
_NUM_BARS = (0, 2)
_BAR_WIDTH = (0.08, 0.16)


@dataclass(frozen=True)
class _Shape:
    outline: np.ndarray
    color: tuple
    start: np.ndarray
    velocity: np.ndarray


def hard_states(rng, label):
    """The four phases of the shape over a video.

    Args:
        rng: ``numpy.random.Generator``; what is drawn from it does not depend on the label.
        label: class index.

    Returns:
        float64 array (NUM_FRAMES, 4) of x, y, angle and log size, each from 0 to below 1.
    """
    phases = rng.random(4)
    share, second_share, switch = rng.random(3)
    time = np.arange(NUM_FRAMES) / (NUM_FRAMES - 1)
    moved = np.zeros((NUM_FRAMES, 4))
    name = CLASSES[label]
    if " then " in name:
        first, second = (_MOTIONS[motion] for motion in name.split(" then "))
        when = _between(_PAIR_SWITCH, switch)
        for (which, sign), cycles, progress in (
            (first, share, time / when),
            (second, second_share, (time - when) / (1 - when)),
        ):
            moved[:, which] = sign * _between(_PAIR_CYCLES, cycles) * progress.clip(0, 1)
    else:
        motion, speed = name.split()
        which, sign = _MOTIONS[motion]
        moved[:, which] = sign * _between(_SPEEDS[speed], share) * time
    return (phases + moved) % 1.0


def draw_hard_frames(seed, label):
    """The frames of one video: yields ``NUM_FRAMES`` PIL images, RGB, ``SIZE`` x ``SIZE``."""
    rng = np.random.default_rng(seed)
    states = hard_states(rng, label)
    side = SIZE * OVERSAMPLING
    texture, drift = draw_texture(rng, side, _TEXTURE_SPREAD), draw_velocity(rng, 0.1, 0.4)
    background = texture.mean(axis=(0, 1))
    outline, color = draw_shape(rng), _color(rng, background)
    others = [_draw_other(rng, background) for _ in range(rng.integers(*_NUM_OTHERS))]
    bars = [_draw_bar(rng, background) for _ in range(rng.integers(*_NUM_BARS))]
    shakes = _draw_shakes(rng)
    low, high = _EXTENTS
    for frame, (state, shake) in enumerate(zip(states, shakes, strict=True)):
        time = frame / NUM_FRAMES
        shift = np.rint((drift * time + shake) * side).astype(int)
        image = Image.fromarray(np.roll(texture, shift[::-1], axis=(0, 1)))
        canvas = ImageDraw.Draw(image)
        for other in others:
            place = other.start + other.velocity * time + shake
            paint(canvas, side, other.outline, other.color, place)
        extent = low * (high / low) ** state[_LOG_SIZE]
        paint(canvas, side, extent * turned(outline, state[_ANGLE]), color, state[:2] + shake)
        for bar in bars:
            paint(canvas, side, bar.outline, bar.color, bar.start + bar.velocity * time)
        yield _with_noise(rng, image.reduce(OVERSAMPLING))


def _between(bounds, share):
    return bounds[0] + share * (bounds[1] - bounds[0])


def _color(rng, background):
    """A colour that differs from the background in every channel, up or down."""
    by = rng.uniform(*_CONTRAST, 3) * rng.choice((-1, 1), 3)
    # Downwards there is less room: at least one channel is brighter.
    by[rng.integers(3)] = rng.uniform(*_CONTRAST)
    return tuple(int(value) for value in np.clip(background + by, 0, 255))


def _draw_other(rng, background):
    outline = rng.uniform(*_OTHER_EXTENTS) * turned(draw_shape(rng), rng.random())
    return _Shape(outline, _color(rng, background), rng.random(2), draw_velocity(rng, 0.1, 0.5))


def _draw_bar(rng, background):
    """A bar across the frame that moves slowly, as something close to the camera does."""
    half = rng.uniform(*_BAR_WIDTH) / 2
    # Upright or level: as long as the torus, so that it has no ends.
    outline = np.array([(-half, -0.5), (half, -0.5), (half, 0.5), (-half, 0.5)])
    if rng.random() < 0.5:
        outline = outline[:, ::-1]
    color = tuple(int(value) for value in np.clip(background + rng.uniform(-30, 30), 0, 255))
    return _Shape(outline, color, rng.random(2), draw_velocity(rng, 0.0, 0.15))


def _draw_shakes(rng):
    """Where the camera points, in sides of the frame: (NUM_FRAMES, 2)."""
    steps = rng.standard_normal((NUM_FRAMES, 2)) * _SHAKE * np.sqrt(1 - _SHAKE_MEMORY**2)
    shakes = np.zeros((NUM_FRAMES, 2))
    for frame in range(1, NUM_FRAMES):
        shakes[frame] = _SHAKE_MEMORY * shakes[frame - 1] + steps[frame]
    return shakes


def _with_noise(rng, image):
    """The image with grey blobs, other ones in every frame."""
    grains = _NOISE * rng.standard_normal((SIZE // _NOISE_GRAIN,) * 2).astype(np.float32)
    noise = Image.fromarray(grains).resize(image.size, Image.Resampling.BILINEAR)
    pixels = np.asarray(image) + np.asarray(noise)[..., None]
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
