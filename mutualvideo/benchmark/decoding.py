"""Frames from the middle of a video, against whole files and other decoders; the loader."""

import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from pytorchvideo.data.encoded_video import EncodedVideo

from mutualvideo.benchmark.side_by_side import side_by_side
from mutualvideo.config import load_cfg
from mutualvideo.data.loader import build_loader
from mutualvideo.errors import InputError
from mutualvideo.media import BACKENDS, open_video, reader_class
from mutualvideo.media.encode import VideoWriter

_WIDTH, _HEIGHT, _FPS, _SECONDS = 340, 256, 30, 10
_INDICES = range(110, 190, 5)  # DATA.NUM_FRAMES 16, SAMPLING_RATE 5, around frame 150


def decode(repeats=9, videos=64):
    """16 frames from the middle of a 10 s 340x256 h264 clip, each decoder on one thread.

    The clip is what libx264 makes by default, as most of Kinetics is: a key frame every 250
    frames or at a cut, of which there is none, so that the middle is 110 frames from one.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_clip(path)
        return {**clip_from_the_middle(path, repeats), **_loader(path, videos)}


def clip_from_the_middle(path, repeats):
    """The comparisons on a given clip of 30 frames a second and at least 190 frames."""

    def read(backend):
        with open_video(path, backend) as reader:
            reader.read(_INDICES)

    def pyav():
        read("pyav")

    def whole(converted):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            # Ours has one thread too.
            stream.thread_type, stream.codec_context.thread_count = "NONE", 1
            frames = []
            for number, frame in enumerate(container.decode(stream)):
                if number in converted:
                    frames.append(frame.reformat(format="rgb24", threads=1).to_ndarray())
            np.stack(frames)

    def encoded_video():
        video = EncodedVideo.from_path(str(path), decode_audio=False)
        video.get_clip(Fraction(_INDICES[0], _FPS), Fraction(_INDICES[-1] + 1, _FPS))
        video.close()

    others = {
        "the whole file, the same 16 converted": lambda: whole(_INDICES),
        "the whole file, all converted": lambda: whole(range(_FPS * _SECONDS)),
        "PyTorchVideo's get_clip": encoded_video,
    }
    for backend in BACKENDS:
        if backend != "pyav" and _is_there(backend):
            others[f"by {backend}"] = lambda backend=backend: read(backend)
    return {
        f"16 frames by pyav / {name}": side_by_side(pyav, other, repeats, name)
        for name, other in others.items()
    }


def write_clip(path):
    """Write the clip: a camera moving over a texture, a thing moving before it, and noise."""
    rng = np.random.default_rng(0)
    scene, thing = _texture(rng, 2 * _HEIGHT, 2 * _WIDTH), _texture(rng, 80, 80)
    with VideoWriter(path, _FPS) as writer:
        for number in range(_FPS * _SECONDS):
            time_s = number / _FPS
            x = int(_WIDTH / 2 * (1 + np.sin(0.5 * time_s)))
            y = int(_HEIGHT / 2 * (1 + np.sin(0.8 * time_s)))
            picture = scene[y : y + _HEIGHT, x : x + _WIDTH].copy()
            x = int((_WIDTH - 80) / 2 * (1 + np.cos(2 * time_s)))
            picture[90:170, x : x + 80] = thing
            picture = picture + rng.normal(0, 7, (_HEIGHT, _WIDTH, 1))
            picture = np.clip(picture, 0, 255).astype(np.uint8)
            writer.write(picture)


def _texture(rng, height, width):
    """(H, W, 3): noise of every scale, the coarser the stronger, as in photographs."""
    total = np.full((height, width, 3), 128.0)
    for cell in (1, 2, 4, 8, 16, 32, 64):
        noise = rng.normal(0, 3 * cell**0.5, (height // cell + 1, width // cell + 1, 3))
        total += noise.repeat(cell, 0).repeat(cell, 1)[:height, :width]
    return total


def _is_there(backend):
    try:
        reader_class(backend)
    except InputError:
        return False
    return True


def _loader(path, videos):
    """Training clips a second, 16 frames of 160 px, with 0, 1 and 2 workers."""
    (path.parent / "train.csv").write_text(f"{path.name} 0\n" * videos)
    settings = {
        "DATA.PATH_TO_DATA_DIR": path.parent,
        "DATA.TRAIN_JITTER_SCALES": [182, 228],
        "DATA.TRAIN_CROP_SIZE": 160,
        "TRAIN.BATCH_SIZE": 8,
        "MODEL.NUM_CLASSES": 2,
    }
    speeds = {}
    for workers in (0, 1, 2):
        overrides = {**settings, "DATA_LOADER.NUM_WORKERS": workers}
        cfg = load_cfg(None, [str(item) for pair in overrides.items() for item in pair])
        loader = build_loader(cfg, "train")
        for _ in range(2):  # the first time starts the workers
            start = time.perf_counter()
            for _ in loader:
                pass
            speeds[workers] = videos / (time.perf_counter() - start)
    return {
        f"loader with {workers} workers / with 0": {
            "ratio": round(speed / speeds[0], 4),
            "clips_per_s": round(speed, 2),
        }
        for workers, speed in speeds.items()
    }
