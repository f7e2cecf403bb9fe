"""A file, a folder, a stream or a camera, each played to its film."""

from __future__ import annotations

import csv
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mutualvideo.budget import Budget
from mutualvideo.errors import InputError
from mutualvideo.files import StrPath, atomic_path
from mutualvideo.media import DecodeError
from mutualvideo.media_kind import VIDEO_ENDINGS, is_of_kind
from mutualvideo.play.capture import SourceError, open_source
from mutualvideo.play.continual_player import play_frames
from mutualvideo.play.film import write_gif
from mutualvideo.play.player import Played, play
from mutualvideo.policy.budget_script import BudgetScript
from mutualvideo.runtime.recognizer import AdaptiveRecognizer


def play_all(
    recognizer: AdaptiveRecognizer,
    address: StrPath,
    output: StrPath,
    budgets: Sequence[Budget] = (),
    script: StrPath | None = None,
    gif: StrPath | None = None,
    gif_mb: float = 4.0,
    seconds: float | None = None,
    stop: threading.Event | None = None,
    opening: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[tuple[StrPath, Played | InputError]]:
    """Plays what is at an address: one source, or every video of a folder in order of name.

    Args:
        recognizer: an ``AdaptiveRecognizer``.
        address: for ``open_source``, or a folder.
        output: folder for the films. They are called after the sources; two videos of a folder
            whose names differ only in their endings keep these.
        budgets: :class:`~mutualvideo.budget.Budget` objects: each holds for an equal part of
            every recording.
        script: path of a budget script, instead of ``budgets``.
        gif: path for a GIF of the film; for one source only.
        gif_mb: its largest size, in megabytes.
        seconds: stop after this many seconds of every source; ``None``: at its end.
        stop: ``threading.Event``: ends the film that is being made, begins no other.
        opening: further arguments of ``open_source``.
        options: further arguments of ``play``.

    Yields:
        ``(address, Played)`` as they are done; in a folder ``(address, InputError)`` for a video
        that cannot be read, and the others follow.

    Raises:
        InputError: if a single source cannot be read, the folder holds no video, or a budget
            or option is wrong.
    """
    if bool(budgets) == (script is not None):
        raise InputError("give either budgets or a budget script")
    plan = None if script is None else BudgetScript.read(script)
    for budget in budgets if plan is None else plan.budgets:
        recognizer.set_budget(budget)
    stop = threading.Event() if stop is None else stop

    def play_one(path: StrPath, name: str | None = None) -> Played:
        with open_source(path, **(opening or {})) as source:
            source.name = name or source.name
            length_s = source.duration_s
            if length_s is not None and seconds is not None:
                length_s = min(length_s, seconds)
            # Of a stand-in, there may be no such attribute.
            continual = getattr(recognizer, "frames", None) is not None
            return (play_frames if continual else play)(
                recognizer,
                source,
                plan or BudgetScript.equal_parts(budgets, length_s),
                output,
                seconds=seconds,
                stop=stop,
                **options,
            )

    folder = Path(address)
    if not folder.is_dir():
        played = play_one(address)
        if gif is not None:
            write_gif(played.mp4, gif, round(gif_mb * 1e6))
        yield address, played
        return
    if gif is not None:
        raise InputError(f"{address}: is a folder; a GIF is of one video")
    for path, name in _videos(folder):
        if stop.is_set():
            return
        try:
            yield path, play_one(path, name)
        except (DecodeError, SourceError) as error:
            yield path, error


def combine(played: Sequence[Played], output: StrPath) -> Path:
    """Writes the lines of several films' CSVs into one, each with the name of its film first.

    Args:
        played: at least one.
        output: folder.

    Returns:
        The path of ``all_videos.csv`` there; with underscores after the name where a film has it.
    """
    name = "all_videos"
    while any(one.csv.stem == name for one in played):
        name += "_"
    path = Path(output) / f"{name}.csv"
    with atomic_path(path) as temporary:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            for number, one in enumerate(played):
                with open(one.csv, newline="", encoding="utf-8") as lines:
                    head, *rows = csv.reader(lines)
                if not number:
                    writer.writerow(["video", *head])
                writer.writerows([one.csv.stem, *row] for row in rows)
    return path


def _videos(folder: Path) -> list[tuple[Path, str]]:
    """``[(path, name of the film), ...]`` of the videos right in a folder."""
    paths = sorted(path for path in folder.iterdir() if is_of_kind(path, VIDEO_ENDINGS))
    if not paths:
        raise InputError(f"{folder}: holds no video ({', '.join(sorted(VIDEO_ENDINGS))})")
    count = Counter(path.stem for path in paths)
    return [(path, path.stem if count[path.stem] == 1 else path.name) for path in paths]
