"""Lists of videos, checked frame by frame before a training finds the bad ones."""

import csv
import os
from pathlib import Path

import av

from mutualvideo.data.annotations import read_annotations
from mutualvideo.data.prepare.jobs import Failure, run_jobs
from mutualvideo.data.prepare.video_tree import separate_folders, videos_below
from mutualvideo.errors import InputError
from mutualvideo.files import atomic_path, require_writable
from mutualvideo.media import DecodeError, VideoReader
from mutualvideo.media.packet_index import moving_streams
from mutualvideo.media.shards import Content


def check_list(
    csv_path, output, separator=" ", prefix="", workers=None, timeout=None, progress=None
):
    """Decode every video of a list; write ``good.csv`` and ``bad.csv`` into a folder.

    ``good.csv`` holds the good lines as they are written in the list, so relative paths still
    start from ``prefix`` or the folder of the list. A copy has the list's own name, under which
    training finds it in the folder. ``bad.csv`` holds path, label and reason,
    as Python's csv module writes them. A path that is listed twice is decoded once.

    Args:
        csv_path, separator, prefix: see :func:`mutualvideo.data.annotations.read_annotations`.
        output: folder, made if need be.
        workers, timeout, progress: see :func:`mutualvideo.data.prepare.jobs.run_jobs`.

    Returns:
        (videos in the list, bad ones among them).

    Raises:
        InputError: for a bad list, or a folder that cannot be written or would lose the list.
    """
    videos = read_annotations(csv_path, separator, prefix, allow_absolute=True, multi_label=True)
    lines = Path(csv_path).read_text(encoding="utf-8-sig").splitlines()
    good, bad = Path(output) / "good.csv", Path(output) / "bad.csv"
    # What training looks for in a folder: train.csv, val.csv, test.csv.
    same = Path(output) / Path(csv_path).name
    for path in (good, bad, same):
        if path.resolve() == Path(csv_path).resolve():
            raise InputError(f"{path}: is the list itself; give another --output")
        require_writable(path)  # asked now, not after hours
    paths = dict.fromkeys(video.path for video in videos)
    reasons = dict(run_jobs(check_video, paths, workers, timeout, "check", progress=progress))
    wrong = [video for video in videos if reasons[video.path] is not None]
    for path in (good, same):
        with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.writelines(f"{lines[v.line - 1]}\n" for v in videos if reasons[v.path] is None)
    rows = [(v.name, v.written_labels, as_text(reasons[v.path])) for v in wrong]
    write_rows(bad, rows)
    return len(videos), len(wrong)


def check_folder(folder, output, workers=None, timeout=None, progress=None):
    """Decode every video below a folder; write ``bad.csv`` (path, folder it is in, reason).

    Args:
        folder: of videos, in folders of their classes or not.
        output: another folder, made if need be.
        workers, timeout, progress: see :func:`mutualvideo.data.prepare.jobs.run_jobs`.

    Returns:
        (videos below the folder, bad ones among them).

    Raises:
        InputError: if there is no video, or the output cannot be written or lies in the folder.
    """
    folder, output = separate_folders(folder, output, "--csv")
    bad = output / "bad.csv"
    require_writable(bad)  # asked now, not after hours
    paths = {str(folder / name): name for name in videos_below(folder)}
    reasons = run_jobs(check_video, paths, workers, timeout, "check", progress=progress)
    found = [(paths[path], as_text(reason)) for path, reason in reasons if reason is not None]
    write_rows(bad, sorted((str(name), str(name.parent), reason) for name, reason in found))
    return len(paths), len(found)


def check_video(path):
    """Why some frame of a video cannot be read; ``None`` if all can.

    Every frame is decoded once, from first to last; none is kept or converted to RGB. Then some are
    read as training reads them: by readers that have just been opened, the last frame first.
    """
    try:
        try:
            for _ in all_frames(path):
                pass
        except DecodeError:
            # What decides is the reader that training uses. Small, because it keeps them all.
            with VideoReader(path) as reader:
                reader.read(range(len(reader)), short_side=16)
        _read_as_training_does(path)
    except DecodeError as error:
        return reason_of(error, path)
    return None


def _read_as_training_does(path):
    with VideoReader(path) as reader:
        last = len(reader) - 1
        reader.read([last], short_side=16)
        reader.read([last // 2], short_side=16)


def all_frames(path):
    """The frames that :class:`VideoReader` counts, decoded in one pass.

    Yields:
        ``av.VideoFrame``, as stored: neither scaled, converted nor rotated.

    Raises:
        DecodeError: if the file cannot be read, or at its end if a frame did not come out.
    """
    with VideoReader(path) as reader:
        times = reader.timestamps
    remaining = set(times)
    try:
        with av.open(Content(path).open()) as container:
            stream = moving_streams(container)[0]
            stream.thread_type = "NONE"  # as VideoReader decodes
            stream.codec_context.thread_count = 1
            for frame in container.decode(stream):
                time = None if frame.pts is None else float(frame.pts * frame.time_base)
                if time in remaining:
                    remaining.discard(time)
                    yield frame
    except (av.FFmpegError, OSError) as error:
        number = len(times) - len(remaining)
        say = getattr(error, "strerror", None) or error
        raise DecodeError(
            f"{path}: does not decode after {number} of {len(times)} frames ({say})"
        ) from None
    if remaining:
        number = times.index(min(remaining))
        raise DecodeError(f"{path}: frame {number} of {len(times)} does not decode")


def reason_of(error, path):
    """The message of a :class:`DecodeError` in one line, without the path that it opens with."""
    return " ".join(str(error).removeprefix(f"{path}: ").split())


def as_text(result):
    """The reason in a result of :func:`check_video` that may be a :class:`Failure`."""
    return result.reason if isinstance(result, Failure) else result


def write_rows(path, rows):
    """A csv file with these rows, whole or not at all."""
    with atomic_path(path) as temporary:
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def list_root(csv_path, prefix=""):
    """Absolute folder that relative paths of a list start from: its ``DATA.PATH_PREFIX``."""
    return os.path.abspath(prefix or Path(csv_path).parent)


def training_keys(csv_path, separator=" ", prefix=""):
    """Keys and values, as text, with which training finds the videos of a list moved elsewhere."""
    root = list_root(csv_path, prefix)
    keys = f"DATA.PATH_PREFIX {root}"
    try:
        read_annotations(csv_path, separator, root, multi_label=True)
    except InputError:
        return f"{keys} DATA.ALLOW_ABSOLUTE_PATHS True"
    return keys
