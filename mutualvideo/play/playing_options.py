"""The arguments of ``tools/demo.py`` that are about playing videos and cameras."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from mutualvideo.budget import Budget
from mutualvideo.errors import InputError
from mutualvideo.play.capture import open_source
from mutualvideo.play.player import Played
from mutualvideo.play.playlist import play_all
from mutualvideo.policy.budget_script import BudgetScript
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
    """What became of every source that the parsed arguments name.

    In a folder one after the other; several sources, in continual form, at the same time.
    """
    if len(args.source) > 1:
        yield from _at_once(recognizer, args, budgets, stop)
        return
    options: dict[str, Any] = {"stride_s": args.stride, "smooth_s": args.smooth}
    if args.explain:
        options["explainer"] = Explainer(recognizer)
    for _, played in play_all(
        recognizer,
        args.source[0],
        args.output,
        budgets,
        args.budget_script,
        args.gif,
        args.gif_mb,
        args.seconds,
        stop,
        _opening(args),
        **options,
    ):
        yield played


def _at_once(
    recognizer: AdaptiveRecognizer,
    args: argparse.Namespace,
    budgets: Sequence[Budget],
    stop: threading.Event | None,
) -> Iterator[Played | InputError]:
    # Imported here: it needs torch, and the arguments are there without.
    from mutualvideo.play.together import play_together

    if not args.continual or args.gif is not None:
        raise InputError(
            "--source: several go with --continual, and without --gif; the videos of a folder are "
            "played one after the other"
        )
    with ExitStack() as stack:
        sources = [
            stack.enter_context(open_source(address, **_opening(args))) for address in args.source
        ]
        lengths = [source.duration_s for source in sources]
        if args.seconds is not None:
            lengths = [min(length or args.seconds, args.seconds) for length in lengths]
        if args.budget_script is not None:
            script = BudgetScript.read(args.budget_script)
        else:
            known = [length for length in lengths if length is not None]
            script = BudgetScript.equal_parts(budgets, max(known, default=None))
        stride = {"stride_s": args.stride, "smooth_s": args.smooth, "seconds": args.seconds}
        played = play_together(recognizer, sources, script, args.output, stop=stop, **stride)
        for source in sources:
            if source.name not in played:
                yield InputError(f"{source.name}: gave no frame")
        yield from played.values()


def _opening(args: argparse.Namespace) -> dict[str, Any]:
    return {"realtime": args.realtime, "timeout_s": args.timeout, "reconnects": args.reconnects}
