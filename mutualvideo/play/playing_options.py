"""The arguments of ``tools/demo.py`` that are about playing videos and cameras."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from mutualvideo.budget import Budget
from mutualvideo.errors import InputError
from mutualvideo.play.player import Played
from mutualvideo.play.playlist import play_all
from mutualvideo.runtime.explainer import Explainer
from mutualvideo.runtime.recognizer import AdaptiveRecognizer


def add_playing(parser: argparse.ArgumentParser) -> None:
    """Adds them to an ``argparse`` parser."""
    add = parser.add_argument_group("videos and cameras (--source)").add_argument
    add("--continual", action="store_true", help="every frame once; budgets of a second: 2G/s")
    add("--explain", action="store_true", help="show on the film where the answer was seen")
    add("--gif", metavar="FILE", help="also a GIF of the film, at most 60 s")
    add("--gif-mb", type=float, default=4.0, help="largest GIF, in megabytes")
    add("--stride", type=float, default=0.5, help="seconds between predictions")
    add("--smooth", type=float, default=0.0, metavar="S", help="average scores over S seconds")
    add("--seconds", type=float, help="stop after this many seconds")
    add("--realtime", action="store_true", help="play a recording as if it were live")
    add("--timeout", type=float, default=10.0, help="seconds without data: the stream is lost")
    add("--reconnects", type=int, default=5, help="attempts to get a lost stream back")


def play_as_asked(
    recognizer: AdaptiveRecognizer,
    args: argparse.Namespace,
    budgets: Sequence[Budget],
    stop: threading.Event | None = None,
) -> Iterator[Played | InputError]:
    """What became of every source that the parsed arguments name, one after the other."""
    options: dict[str, Any] = {"stride_s": args.stride, "smooth_s": args.smooth}
    if args.explain:
        options["explainer"] = Explainer(recognizer)
    opening = {"realtime": args.realtime, "timeout_s": args.timeout, "reconnects": args.reconnects}
    for _, played in play_all(
        recognizer,
        args.source,
        args.output,
        budgets,
        args.budget_script,
        args.gif,
        args.gif_mb,
        args.seconds,
        stop,
        opening,
        **options,
    ):
        yield played
