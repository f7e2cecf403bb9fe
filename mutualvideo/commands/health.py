"""What works on this machine, tried out: versions, processors, disks, codecs, backends."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mutualvideo.backends import backend_names, make_backend
from mutualvideo.errors import InputError
from mutualvideo.media import BACKENDS, open_video
from mutualvideo.media.encode import VideoWriter
from mutualvideo.run.environment import install_lines, machine_lines
from mutualvideo.slim import slimmable
from mutualvideo.subnet import Subnet

# FFmpeg's names; the first is what this package writes films with.
ENCODERS = ("libx264", "h264_nvenc", "hevc_nvenc", "libvpx-vp9")
_SUBNET = Subnet(0.5, 4, 8)
# NVENC refuses smaller pictures.
_FRAMES, _SIDE, _FPS = 25, 256, 25
# What has to work, or neither training nor a recogniser does.
_NEEDED = {"libx264", "pyav", "torch"}
_SLOW = {"torch-compiled"}
# Of environment variables, those that decide about speed; others may hold secrets.
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


def examine(say: Callable[[str], object], quick: bool = False) -> bool:
    """Tells of this machine, line by line; returns whether what is needed works.

    Args:
        say: is given each line.
        quick: leaves out backends that take long.
    """
    say("versions")
    for line in install_lines():
        say(f"  {line}")
    say("machine")
    for line in [*machine_lines(), *_processors(), *_disks()]:
        say(f"  {line}")
    broken = set()
    with tempfile.TemporaryDirectory() as folder:
        parts = {
            "encoders": _encoders(Path(folder)),
            "decoders": _decoders(Path(folder)),
            "backends": _backends(quick),
        }
        for title, found in parts.items():
            say(title)
            for name, problem in found:
                say(f"  {name}: {problem or 'works'}")
                broken |= {name} if problem else set()
    return not broken & _NEEDED


def _processors() -> Iterator[str]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = torch.get_num_threads()
    yield f"{os.cpu_count()} CPUs, {usable} for this process; torch: {threads} threads"
    for name in _VARIABLES:
        if name in os.environ:
            yield f"{name}={os.environ[name]}"
    if not torch.cuda.is_available():
        yield "no CUDA"


def _disks() -> Iterator[str]:
    places = {"this folder": ".", "temporary files": tempfile.gettempdir(), "/dev/shm": "/dev/shm"}
    for name, place in places.items():
        if os.path.isdir(place):
            found = shutil.disk_usage(place)
            yield f"{name}: {found.free / 2**30:.1f} of {found.total / 2**30:.1f} GiB free"


def _film(path: Path, codec: str) -> None:
    ramp = np.linspace(0, 255, _SIDE, dtype=np.uint8)
    picture = np.broadcast_to(ramp[:, None], (_SIDE, _SIDE, 3))
    with VideoWriter(path, _FPS, codec=codec) as writer:
        for number in range(_FRAMES):
            writer.write(np.roll(picture, number, 0))


def _encoders(folder: Path) -> Iterator[tuple[str, str | None]]:
    for name in ENCODERS:
        yield name, _problem(lambda name=name: _film(folder / f"{name}.mp4", name))


def _decoders(folder: Path) -> Iterator[tuple[str, str | None]]:
    def read(name: str) -> None:
        with open_video(folder / f"{ENCODERS[0]}.mp4", name) as reader:
            if len(reader) != _FRAMES or reader.read([_FRAMES // 2]).std() < 10:
                raise InputError("reads another film than was written")

    for name in BACKENDS:
        yield name, _problem(lambda name=name: read(name))


def _backends(quick: bool) -> Iterator[tuple[str, str | None]]:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv3d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 4)).eval()
    model = slimmable(network, width_range=(0.5, 1.0))
    clips = np.random.default_rng(0).standard_normal((1, 3, 4, 8, 8)).astype(np.float32)
    expected: Any = None
    for name in sorted(backend_names(), key=lambda name: name != "torch"):
        if quick and name in _SLOW:
            yield name, "not tried (--quick)"
            continue

        def answer(name: str = name) -> None:
            nonlocal expected
            scores = make_backend(name, model).prepare(_SUBNET)(clips)
            expected = scores if expected is None else expected
            if np.abs(scores - expected).max() > 1e-3:
                raise InputError("answers other than torch")

        yield name, _problem(answer)


def _problem(attempt: Callable[[], object]) -> str | None:
    """Why ``attempt()`` fails, in one line; ``None`` if it does not."""
    try:
        attempt()
    # Whatever a library or driver raises is the finding.
    except Exception as error:
        text = " ".join(str(error).split()) or "no reason is given"
        return (
            text[:200] if isinstance(error, InputError) else f"{type(error).__name__}: {text[:180]}"
        )
    return None
