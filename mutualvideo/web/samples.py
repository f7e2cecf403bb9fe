"""The videos that a visitor can choose from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from mutualvideo.errors import InputError
from mutualvideo.files import StrPath
from mutualvideo.media_kind import VIDEO_ENDINGS, is_of_kind
from mutualvideo.web.upload import display_name

_MOST = 200
_OF_THE_RUN = 24


def samples_in(folder: StrPath) -> dict[str, Path]:
    """The videos right in a folder, by name.

    Returns:
        ``{name: Path}``, at most 200.

    Raises:
        InputError: if it cannot be listed or holds no video.
    """
    try:
        paths = sorted(Path(folder).iterdir())
    except OSError as error:
        raise InputError(f"--samples {folder}: cannot be listed ({error.strerror})") from None
    paths = [path for path in paths if is_of_kind(path, VIDEO_ENDINGS) and path.is_file()]
    if not paths:
        raise InputError(f"--samples {folder}: holds no video ({', '.join(sorted(VIDEO_ENDINGS))})")
    return _named((display_name(path), path) for path in paths[:_MOST])


def samples_of_run(cfg: Any, class_names: Sequence[str]) -> dict[str, Path]:
    """Some validation videos of the run that a checkpoint comes from, if they are still there.

    Classes take turns, so that the first few are of different ones.

    Args:
        cfg: configuration of the run.
        class_names: by label.

    Returns:
        ``{name: Path}``, at most 24, each name beginning with the video's class; empty if the
        list or its videos are not there.
    """
    # An exported folder knows of no data set.
    if not hasattr(cfg, "TEST"):
        return {}
    # Data sets import torch.
    from mutualvideo.data.sources.dataset_registry import read_videos

    try:
        videos = read_videos(cfg.TEST.DATASET, cfg, "val").videos
    except InputError:
        return {}
    by_class = defaultdict(list)
    for video in videos:
        by_class[video.label].append(video)
    turns = chain.from_iterable(zip_longest(*(by_class[label] for label in sorted(by_class))))
    found, count = [], len(class_names)
    for video in turns:
        # Folders of pictures are no clips; labels beyond the classes are another data set's.
        if video is None or video.fps is not None or max(video.labels, default=0) >= count:
            continue
        if Path(video.path).is_file():
            names = ", ".join(class_names[label] for label in video.labels) or "none"
            found.append((f"{names} – {display_name(video.path)}", video.path))
        if len(found) == _OF_THE_RUN:
            break
    return _named((name, Path(path)) for name, path in found)


def _named(pairs: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    named = {}
    for name, path in pairs:
        unique, number = name, 2
        while unique in named:
            unique, number = f"{name} ({number})", number + 1
        named[unique] = path
    return named
