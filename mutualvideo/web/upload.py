"""Clips from files that are not trusted: bounded in size, time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import mutualvideo
from mutualvideo.data.sampling import read_size
from mutualvideo.errors import InputError
from mutualvideo.files import StrPath

_LONGEST_NAME = 60


@dataclass(frozen=True)
class Limits:
    """What is taken of a file.

    Args:
        megabytes: its largest size.
        seconds: its longest duration.
        side: largest width and height of its pictures, in pixels.
        patience_s: seconds after which decoding is given up.
        memory_mib: memory that decoding may use.
    """

    megabytes: float = 50.0
    seconds: float = 60.0
    side: int = 4096
    patience_s: float = 30
    memory_mib: int = 2048

    def __post_init__(self) -> None:
        if not (0 < self.megabytes < float("inf") and 0 < self.seconds < float("inf")):
            raise InputError(
                f"--max-mb {self.megabytes}, --max-seconds {self.seconds}: must be above 0"
            )


@dataclass(frozen=True)
class Clip:
    """What was read of a video.

    Args:
        name: what the visitor knows it by.
        frames: uint8 (T, S, S, 3), what the network is given.
        pictures: uint8 (T, H, W, 3), the same frames for people.
        duration_s: of the whole video.
        span_s: of it, what the frames stand for.
    """

    name: str
    frames: np.ndarray = field(repr=False)
    pictures: np.ndarray = field(repr=False)
    duration_s: float
    span_s: float


def read_clip(
    path: StrPath, data: Any, limits: Limits, name: str | None = None, segments: bool = False
) -> Clip:
    """The clip in the middle of a video, read in a process of its own.

    Args:
        path: the file.
        data: the DATA section of a configuration.
        limits: :class:`Limits`.
        name: for messages, instead of the name that the file has here.
        segments: one frame out of each segment of the whole video, as the network was trained.

    Returns:
        :class:`Clip`.

    Raises:
        InputError: if the file is missing, beyond a limit, not a video, damaged, or cannot be
            decoded with the time and memory that are granted; names ``name``.
    """
    name = display_name(name or path)
    try:
        size = Path(path).stat().st_size if Path(path).is_file() else None
    except (OSError, ValueError):  # ValueError: a zero byte in the path
        size = None
    if size is None:
        raise InputError(f"{name}: no such video")
    if size > limits.megabytes * 1e6:
        raise InputError(
            f"{name}: has {size / 1e6:.1f} MB, at most {limits.megabytes:g} MB are taken; cut it "
            "or compress it"
        )
    # An absolute path is never taken for an option or an address.
    path = os.path.abspath(path)
    job = {
        "path": path,
        "num_frames": data.NUM_FRAMES,
        "sampling_rate": data.SAMPLING_RATE,
        "target_fps": data.TARGET_FPS,
        "short_side": read_size(data),
        "segments": segments,
        "seconds": limits.seconds,
        "side": limits.side,
        "patience_s": limits.patience_s,
        "memory_mib": limits.memory_mib,
    }
    header, content = _run(job, name, limits.patience_s)
    if "error" in header:
        raise InputError(" ".join(header["error"].replace(path, name).split()))
    frames, pictures = _arrays(header["shapes"], content)
    span_s = header["duration_s"]
    if not segments:
        span_s = min(data.NUM_FRAMES * data.SAMPLING_RATE / data.TARGET_FPS, span_s)
    return Clip(name, frames, pictures, header["duration_s"], span_s)


def display_name(path: object) -> str:
    """The last part of a path, one line of printable text, of moderate length."""
    name = str(path).replace("\\", "/").rstrip("/").rpartition("/")[2]
    name = " ".join("".join(c if c.isprintable() else " " for c in name).split()) or "unnamed"
    if len(name) <= _LONGEST_NAME:
        return name
    half = _LONGEST_NAME // 2
    return f"{name[: half - 1]}…{name[-half:]}"


def _run(job: dict[str, Any], name: str, patience_s: float) -> tuple[dict[str, Any], bytes]:
    package = str(Path(mutualvideo.__file__).parents[1])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    # Threads of a BLAS that is not used would take address space.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mutualvideo.web.isolated", json.dumps(job)]
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=patience_s,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"{name}: was not decoded within {patience_s:g} s; cut it or make it smaller"
        ) from None
    line, _, content = done.stdout.partition(b"\n")
    if done.returncode:
        # A signal, or an exception that its log shows.
        sys.stderr.write(done.stderr.decode(errors="replace")[-4000:])
        raise InputError(f"{name}: made the decoder fail (exit code {done.returncode})")
    return json.loads(line), content


def _arrays(shapes: Iterable[Sequence[int]], content: bytes) -> list[np.ndarray]:
    arrays, start = [], 0
    for shape in shapes:
        count = int(np.prod(shape))
        arrays.append(np.frombuffer(content, np.uint8, count, start).reshape(shape))
        start += count
    return arrays
