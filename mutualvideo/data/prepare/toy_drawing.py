"""What the toy videos are drawn with: shapes on a torus, over a smooth texture."""

import functools
import math

import numpy as np

# Frames are drawn this much larger and averaged, for smooth edges and half-pixel motion.
OVERSAMPLING = 2


def paint(canvas, side, points, color, position):
    """A polygon around ``position`` on the torus; both in units of the canvas's side (pixels)."""
    position = position % 1.0
    low, high = position + points.min(axis=0), position + points.max(axis=0)
    # Every copy that reaches into the frame, so that what leaves comes in opposite.
    for dx in range(math.floor(-high[0]) + 1, math.ceil(1 - low[0])):
        for dy in range(math.floor(-high[1]) + 1, math.ceil(1 - low[1])):
            corners = (points + position + (dx, dy)) * side
            canvas.polygon([tuple(corner) for corner in corners.tolist()], fill=color)


def draw_distractor(rng):
    points = rng.uniform(0.07, 0.11) * turned(draw_shape(rng), rng.random())
    return points, draw_color(rng), rng.random(2), draw_velocity(rng, 0.05, 0.2)


def turned(outline, phase):
    # y points down, so this turns clockwise on the screen as the phase grows.
    turn = 2 * math.pi * phase
    return outline @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])


def draw_velocity(rng, slowest, fastest):
    """Frame sides a video, in any direction."""
    angle, speed = 2 * math.pi * rng.random(), rng.uniform(slowest, fastest)
    return speed * np.array([math.cos(angle), math.sin(angle)])


def draw_color(rng):
    """A bright, saturated colour: one channel high, one low, one between."""
    channels = [rng.integers(220, 256), rng.integers(120, 256), rng.integers(0, 80)]
    return tuple(int(channel) for channel in rng.permutation(channels))


def draw_texture(rng, side, spread=10):
    """Periodic smooth noise of standard deviation ``spread`` around a random grey.

    Returns:
        uint8 (side, side, 3), of the mean 40 to 100.
    """
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)) * side
    spectrum = np.exp(-((frequency / 4) ** 2))[..., None]
    noise = np.fft.rfft2(rng.standard_normal((side, side, 3)), axes=(0, 1)) * spectrum
    noise = np.fft.irfft2(noise, s=(side, side), axes=(0, 1))
    noise *= spread / noise.std()
    return np.clip(rng.uniform(40, 100) + noise, 0, 255).astype(np.uint8)


def draw_shape(rng):
    outlines = shapes()
    return outlines[rng.integers(len(outlines))]


@functools.cache
def shapes():
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
