"""Videos re-encoded once for training: small, with key frames close together.

A clip is read from the key frame before it, and every frame on the way is decoded at full size.
Both cost the same again in every epoch; re-encoding takes them off once and for all.
"""

import errno
import itertools
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import numpy as np

from mutualvideo.data.annotations import read_annotations
from mutualvideo.data.prepare.check import all_frames, as_text, reason_of, write_rows
from mutualvideo.data.prepare.jobs import run_jobs
from mutualvideo.errors import InputError
from mutualvideo.files import atomic_path
from mutualvideo.media import DecodeError, VideoReader
from mutualvideo.media.colour import ToUprightYuv
from mutualvideo.media.encode import VideoWriter

# Files of other endings are no videos to this tool.
EXTENSIONS = (
    ".3gp",
    ".avi",
    ".flv",
    ".m4v",
    ".mkv",
    ".mov",
    ".mp4",
    ".mpeg",
    ".mpg",
    ".ts",
    ".webm",
    ".wmv",
)
# Changes with what is written; a tree of another version is not continued.
VERSION = 1

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
_LEFTOVER = re.compile(r"\..+\.\d+\.mp4")  # what atomic_path calls a file that is not finished


@dataclass(frozen=True)
class Settings:
    """What decides the pixels and key frames of the resized videos.

    Args:
        short_side: of the frames, in pixels, even; smaller videos stay as they are.
        gop: frames from one key frame to the next, at most.
        crf: x264's constant quality, 0 (lossless) to 51.

    Raises:
        InputError: for a value outside these.
    """

    short_side: int = 256
    # On the film of benchmark/resize.py, 8 and 12 read clips no faster and take 44 and 13 % more
    # bytes; 32 reads 8 scattered frames (segments) 1.6 times slower.
    gop: int = 16
    crf: int = 20

    def __post_init__(self):
        if self.short_side < 16 or self.short_side % 2:
            raise InputError(f"--short-side must be even and at least 16, not {self.short_side}")
        if self.gop < 1:
            raise InputError(f"--gop must be at least 1, not {self.gop}")
        if not 0 <= self.crf <= 51:
            raise InputError(f"--crf must be within 0 to 51, not {self.crf}")


@dataclass(frozen=True)
class Summary:
    """What :func:`resize_tree` did: numbers of videos."""

    written: int
    skipped: int
    bad: int


def resize_tree(
    source,
    output,
    settings=None,
    lists=(),
    separator=" ",
    prefix="",
    workers=None,
    timeout=None,
    progress=None,
):
    """Re-encode every video below a folder to the same place below another, as mp4.

    A file that exists is finished and is not made again. ``resize.json`` in the output keeps
    the settings. ``bad.csv`` there holds path and reason of what could not be resized; it
    exists only if there is something. One run at a time: unfinished files are removed.

    Args:
        source: folder; files that end in :data:`EXTENSIONS` count, hidden ones do not.
        output: folder, made if need be.
        settings: :class:`Settings`; ``None``: the defaults.
        lists: lists of videos below ``source``, written to ``output`` under the same name
            with the new paths, line by line, bad videos included.
        separator, prefix: of these; see :func:`mutualvideo.data.annotations.read_annotations`.
        workers, timeout, progress: see :func:`mutualvideo.data.prepare.jobs.run_jobs`.

    Returns:
        a :class:`Summary`.

    Raises:
        InputError: if there is no video, two would become the same file, a list names a path
            that is not below ``source``, the output was made with other settings or by
            something else, or it cannot be written.
    """
    settings = settings or Settings()
    source, output = _separate_folders(source, output)
    targets = _targets(source)
    texts = _new_lists(lists, source, separator, prefix)
    skipped = _resume(output, targets, settings)
    for name, text in texts.items():
        _write_if_new(output / name, text)
    jobs = {
        (str(source / path), str(output / target), settings): path
        for path, target in targets.items()
        if target not in skipped
    }
    bad = []
    for job, result in run_jobs(_resize_job, jobs, workers, timeout, "resize", progress=progress):
        if result is not None:
            bad.append((str(jobs[job]), as_text(result)))
    if bad:
        write_rows(output / "bad.csv", sorted(bad))
    else:
        (output / "bad.csv").unlink(missing_ok=True)
    return Summary(len(jobs) - len(bad), len(skipped), len(bad))


# The plan


def _separate_folders(source, output):
    source, output = Path(os.path.realpath(source)), Path(os.path.realpath(output))
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; --input is the folder of the videos")
    if source == output or source in output.parents or output in source.parents:
        raise InputError(f"{output}: --output must lie outside --input ({source})")
    return source, output


def _targets(source):
    """{relative path of a video: relative path of what it becomes}, in the order of names."""
    found, visited = {}, set()
    for folder, folders, names in os.walk(source, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = sorted(n for n in folders if not n.startswith(".")) * (real not in visited)
        visited.add(real)
        for name in sorted(names):
            path = (Path(folder) / name).relative_to(source)
            if path.suffix.lower() not in EXTENSIONS or name.startswith("."):
                continue
            other = found.setdefault(path.with_suffix(".mp4"), path)
            if other != path:
                raise InputError(
                    f"{source}: {other} and {path} would both become {path.with_suffix('.mp4')}; "
                    "rename one"
                )
    if not found:
        raise InputError(f"{source}: holds no video ({' '.join(EXTENSIONS)})")
    return {path: target for target, path in found.items()}


def _new_lists(lists, source, separator, prefix):
    """{name: text} of the lists with the paths below the output."""
    texts = {}
    for csv_path in map(Path, lists):
        if csv_path.name in texts or csv_path.name in ("bad.csv", "resize.json"):
            raise InputError(f"{csv_path}: another file of the output has this name; rename it")
        lines = []
        for video in read_annotations(
            csv_path, separator, prefix, allow_absolute=True, multi_label=True
        ):
            where = f"{csv_path}:{video.line}"
            path = Path(os.path.abspath(video.path))
            # The folder alone is resolved: the videos themselves may be links.
            path = Path(os.path.realpath(path.parent)) / path.name
            if source not in path.parents:
                raise InputError(f"{where}: {path} is not below --input {source}")
            if path.suffix.lower() not in EXTENSIONS:
                raise InputError(f"{where}: {path} is no video ({' '.join(EXTENSIONS)})")
            target = path.relative_to(source).with_suffix(".mp4")
            lines.append(f"{target.as_posix()}{separator}{video.written_labels}\n")
        texts[csv_path.name] = "".join(lines)
    return texts


def _resume(output, targets, settings):
    """The set of targets that are finished; the folder is ready for the others."""
    wanted = {"version": VERSION, **asdict(settings)}
    path = output / "resize.json"
    finished = {target for target in targets.values() if (output / target).exists()}
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        if finished:
            raise InputError(
                f"{output}: holds {min(finished)} but no resize.json: it was made by something "
                "else; give another --output"
            ) from None
        found = None
    except (OSError, ValueError, RecursionError):
        found = "something unreadable"
    if found not in (None, wanted):
        raise InputError(
            f"{path}: this folder was made with other settings ({found}); give those, "
            "another --output or delete the folder"
        )
    _write_if_new(path, json.dumps(wanted) + "\n")
    for folder in {(output / target).parent for target in targets.values()}:
        for name in os.listdir(folder) if folder.is_dir() else ():
            if _LEFTOVER.fullmatch(name):
                (folder / name).unlink()
    return finished


def _write_if_new(path, text):
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


# One video


def _resize_job(job):
    source, target, settings = job
    try:
        resize_video(source, target, settings)
    except DecodeError as error:
        return reason_of(error, source)


def resize_video(source, target, settings):
    """Re-encode one video as h264, yuv420p, mp4, without sound; it appears when it is whole.

    It has the frames and the presentation times that :class:`VideoReader` finds in the source,
    upright. One frame is held at a time, besides those that x264 looks ahead.

    Args:
        source, target: the files.
        settings: :class:`Settings`.

    Raises:
        DecodeError: if a frame of the source does not decode, or its times do not fit mp4.
        InputError: if the target cannot be written.
    """
    with atomic_path(target) as temporary:
        try:
            _encode(all_frames(source), temporary, settings)
        except (av.FFmpegError, OSError) as error:
            say = getattr(error, "strerror", None) or error
            if getattr(error, "errno", None) in _FULL_DISK:
                raise InputError(f"{target}: cannot be written ({say})") from None
            raise DecodeError(f"{source}: cannot be encoded ({say})") from None
        with VideoReader(source) as old, VideoReader(temporary) as new:
            times = old.timestamps, new.timestamps
        if len(times[0]) != len(times[1]) or not np.allclose(*times, rtol=0, atol=1e-4):
            raise DecodeError(f"{source}: its presentation times cannot be kept in mp4")


def _encode(frames, path, settings):
    convert = ToUprightYuv(settings.short_side)
    first = next(frames)
    # The clock of the edit list, which holds a late start, is the track's: exact.
    clock = {"movie_timescale": str(first.time_base.denominator)}
    # One thread: the processes are the parallelism.
    options = {"crf": str(settings.crf), "g": str(settings.gop), "threads": "1"}
    with VideoWriter(path, options=options, form="mp4", container_options=clock) as writer:
        for frame in itertools.chain([first], frames):
            writer.write(convert(frame))
