"""What re-encoding a video for training buys: reading clips from it, and bytes."""

import itertools
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from mutualvideo.benchmark.side_by_side import side_by_side
from mutualvideo.data.prepare.resize import Settings, resize_video
from mutualvideo.data.sampling import clip_indices
from mutualvideo.media import open_video
from mutualvideo.media.encode import VideoWriter

_SIZE, _FPS, _SECONDS = (1280, 720), 30, 10
_FRAMES, _RATE = 16, 5  # of a clip


def resized(repeats=15, gops=(8, 12, 16, 32), source=None):
    """Opening a file and reading a 16-frame clip (rate 5, short side 256) somewhere in it.

    The resized video against the original, at the same random places. The original is a
    generated film of 10 s, 1280x720, encoded with x264's defaults, or the file ``source``.
    """
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        original = Path(source or Path(folder) / "original.mp4")
        if source is None:
            write_film(original)
        for gop in gops:
            small = Path(folder) / f"{gop}.mp4"
            resize_video(original, small, Settings(gop=gop))
            name = f"clip of the video resized with gop {gop} / original"
            times = side_by_side(_clips(small), _clips(original), repeats, name)
            sizes = (round(path.stat().st_size / 2**20, 3) for path in (small, original))
            found[name] = times | dict(zip(("ours_mib", "theirs_mib"), sizes, strict=True))
    return found


def _clips(path):
    """A function that reads the next clip; every file gives the same sequence of places."""
    rng = np.random.default_rng(0)

    def read():
        with open_video(path) as video:
            indices = clip_indices(len(video), video.fps, _FRAMES, _RATE, 30, rng.random())
            video.read(indices, short_side=256)

    return read


def write_film(path):
    """A camera that pans and zooms over a picture where smaller ones move, with some noise."""
    width, height = _SIZE
    rng = np.random.default_rng(0)
    ground = _picture(rng, 2 * width, 2 * height)
    actors = [_picture(rng, 300, 400) for _ in range(4)]
    starts, speeds = rng.uniform(0.2, 0.6, (4, 2)), rng.uniform(-0.03, 0.03, (4, 2))
    grain = rng.normal(0, 4, (height + 64, width + 64, 1)).astype(np.int16)
    with VideoWriter(path, _FPS) as writer:
        for number in range(_FPS * _SECONDS):
            second = number / _FPS
            scene = ground.copy()
            for actor, start, speed in zip(actors, starts, speeds, strict=True):
                place = (start + speed * second) * (2 * width, 2 * height)
                scene.paste(actor, tuple(place.astype(int).tolist()))
            zoom = 1.3 + 0.3 * np.sin(second / 2)
            left, top = (0.3 + 0.1 * np.sin(second / 3)) * width, (0.1 + 0.02 * second) * height
            box = (left, top, left + zoom * width, top + zoom * height)
            frame = np.asarray(scene.resize(_SIZE, Image.Resampling.BILINEAR, box), np.int16)
            x, y = rng.integers(0, 64, 2)
            frame = np.clip(frame + grain[y : y + height, x : x + width], 0, 255).astype(np.uint8)
            writer.write(frame)


def _picture(rng, width, height):
    """Detail on every scale, as in photographs: noise octaves, each half as strong."""
    total = np.zeros((height, width, 3))
    for octave in itertools.count(3):
        if 2**octave > width:
            break
        cells = rng.uniform(-1, 1, (max(2**octave * height // width, 1), 2**octave, 3))
        for channel in range(3):
            image = Image.fromarray(cells[..., channel].astype(np.float32))
            total[..., channel] += (
                110
                * 0.6 ** (octave - 2)
                * np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
            )
    return Image.fromarray(np.clip(120 + total, 0, 255).astype(np.uint8))
