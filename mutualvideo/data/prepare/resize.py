"""Videos re-encoded once for training: small, with key frames close together.

A clip is read from the key frame before it, and every frame on the way is decoded at full size.
Both cost the same again in every epoch; re-encoding takes them off once and for all.
"""

import errno
import itertools
from dataclasses import asdict, dataclass

import av
import numpy as np

from mutualvideo.data.prepare.check import all_frames, as_text, reason_of, write_rows
from mutualvideo.data.prepare.jobs import run_jobs
from mutualvideo.data.prepare.video_tree import (
    BAD,
    begin_or_continue,
    find_targets,
    listed_videos,
    names_of,
    remove_leftovers,
    separate_folders,
    write_if_new,
)
from mutualvideo.errors import InputError
from mutualvideo.files import atomic_path
from mutualvideo.media import DecodeError, VideoReader
from mutualvideo.media.colour import ToUprightYuv
from mutualvideo.media.encode import VideoWriter

# Changes with what is written; a tree of another version is not continued.
VERSION = 1

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


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

    def as_kept(self):
        """What a folder remembers that was made with these, as a dict."""
        return {"version": VERSION, **asdict(self)}


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
        source: folder; files that end as in ``media_kind.VIDEO_ENDINGS`` count, hidden ones do not.
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
    source, output = separate_folders(source, output)
    targets = find_targets(source)
    texts = _new_lists(lists, source, separator, prefix)
    skipped = {target for target in targets.values() if (output / target).exists()}
    begin_or_continue(output, settings.as_kept(), skipped)
    for folder in {(output / target).parent for target in targets.values()}:
        remove_leftovers(folder)
    for name, text in texts.items():
        write_if_new(output / name, text)
    jobs = {
        (str(source / path), str(output / target), settings): path
        for path, target in targets.items()
        if target not in skipped
    }
    bad = []
    for job, result in run_jobs(resize_job, jobs, workers, timeout, "resize", progress=progress):
        if result is not None:
            bad.append((str(jobs[job]), as_text(result)))
    write_bad(output, bad)
    return Summary(len(jobs) - len(bad), len(skipped), len(bad))


def write_bad(output, bad):
    """``bad.csv`` of (path, reason), in order; without any there is no such file."""
    if bad:
        write_rows(output / BAD, sorted(bad))
    else:
        (output / BAD).unlink(missing_ok=True)


def _new_lists(lists, source, separator, prefix):
    """{name: text} of the lists with the paths below the output."""
    return {
        name: "".join(
            f"{path.with_suffix('.mp4').as_posix()}{separator}{video.written_labels}\n"
            for video, path in listed_videos(csv_path, source, separator, prefix)
        )
        for name, csv_path in zip(names_of(lists), lists, strict=True)
    }


# One video


def resize_job(job):
    """Makes (source, target, settings); returns what is wrong with the source, or ``None``."""
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
