"""Folders of videos that others are made of: what is in them, and what there is already."""

import json
import os
import re
from pathlib import Path

from mutualvideo.data.annotations import read_annotations
from mutualvideo.errors import InputError
from mutualvideo.files import atomic_path
from mutualvideo.media_kind import VIDEO_ENDINGS, is_of_kind

# What is in the folder that is made, beside the videos and lists.
STATE, BAD = "resize.json", "bad.csv"

# What atomic_path calls a file that is not finished.
_LEFTOVER = re.compile(r"\..+\.\d+\.(mp4|tar)")


def separate_folders(source, output, option="--input"):
    """Both as real paths; ``option`` is what the source was given by.

    Raises:
        InputError: if the source is no folder, or one lies in the other.
    """
    source, output = Path(os.path.realpath(source)), Path(os.path.realpath(output))
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; {option} is the folder of the videos")
    if source == output or source in output.parents or output in source.parents:
        raise InputError(f"{output}: --output must lie outside {option} ({source})")
    return source, output


def find_targets(source):
    """{relative path of a video: relative path of what it becomes}, in the order of names."""
    found = {}
    for path in videos_below(source):
        become(found, path, path.with_suffix(".mp4"), source)
    return {path: target for target, path in found.items()}


def videos_below(source):
    """Paths of the videos below ``source``, relative to it, in the order of names.

    Raises:
        InputError: if there is none.
    """
    found, visited = [], set()
    for folder, folders, names in os.walk(source, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = sorted(n for n in folders if not n.startswith(".")) * (real not in visited)
        visited.add(real)
        for name in sorted(names):
            path = (Path(folder) / name).relative_to(source)
            if is_of_kind(path, VIDEO_ENDINGS):
                found.append(path)
    if not found:
        raise InputError(f"{source}: holds no video ({' '.join(sorted(VIDEO_ENDINGS))})")
    return found


def become(found, path, target, source):
    """Notes in ``found``, ``{target: path}``, what ``path`` below ``source`` becomes.

    Raises:
        InputError: if another becomes the same.
    """
    other = found.setdefault(target, path)
    if other != path:
        raise InputError(f"{source}: {other} and {path} would both become {target}; rename one")


def listed_videos(csv_path, source, separator, prefix):
    """(:class:`~mutualvideo.data.annotations.Video`, its path relative to ``source``) of a list.

    Raises:
        InputError: for a bad list, or a line with something that is no video below ``source``.
    """
    for video in read_annotations(
        csv_path, separator, prefix, allow_absolute=True, multi_label=True
    ):
        where = f"{csv_path}:{video.line}"
        path = Path(os.path.abspath(video.path))
        # The folder alone is resolved: the videos themselves may be links.
        path = Path(os.path.realpath(path.parent)) / path.name
        if source not in path.parents:
            raise InputError(f"{where}: {path} is not below --input {source}")
        if path.suffix.lower() not in VIDEO_ENDINGS:
            raise InputError(f"{where}: {path} is no video ({' '.join(sorted(VIDEO_ENDINGS))})")
        yield video, path.relative_to(source)


def names_of(lists):
    """The names of lists in the folder that is made.

    Raises:
        InputError: if two have one name, or one that something else has.
    """
    names = []
    for path in lists:
        name = Path(path).name
        if name in (*names, BAD, STATE):
            raise InputError(f"{path}: another file of the output has this name; rename it")
        names.append(name)
    return names


def begin_or_continue(output, wanted, finished):
    """Makes the folder, or sees to it that what is in it was made alike.

    Args:
        output: folder.
        wanted: what decides the files in it, a dict that JSON keeps as it is.
        finished: paths of what it holds already.

    Raises:
        InputError: if it was made with other settings or by something else.
    """
    path = output / STATE
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        if finished:
            raise InputError(
                f"{output}: holds {min(finished)} but no {STATE}: it was made by something "
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
    write_if_new(path, json.dumps(wanted) + "\n")


def remove_leftovers(folder):
    """Removes the unfinished files that a killed run left in a folder, if there is one."""
    for name in os.listdir(folder) if folder.is_dir() else ():
        if _LEFTOVER.fullmatch(name):
            (folder / name).unlink()


def write_if_new(path, text):
    """Writes a file, whole or not at all, unless it holds that text already."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
