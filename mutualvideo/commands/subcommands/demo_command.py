"""Play video through a trained network under a budget that may change.

mutualvideo demo --run output/toy --source clip.mp4 --budget 40M --budget 10M
mutualvideo demo --run output/toy --source webcam:0 --budget 40ms --seconds 60
mutualvideo demo --run output/toy --source clip.mp4 --continual --budget 300M/s
mutualvideo demo --run output/toy --source a.mp4 --source webcam:0 --continual --budget 1G/s
mutualvideo demo --run output/toy --source clip.mp4 --explain
mutualvideo demo --run output/toy --web
mutualvideo demo --run output/mobilenet --image photo.jpg --budget 300M --budget 50M

Writes an annotated mp4 and a CSV for every source, of a folder also one CSV over all. Without a
budget it is what the full network costs. ^C ends the film early and keeps it.
"""

from __future__ import annotations

import argparse
import os

from mutualvideo.commands.run_options import add_run, open_recognizer
from mutualvideo.play.playing_options import add_playing
from mutualvideo.web.options import add_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    text = "video, folder, webcam:0, rtsp:// or http(s)://; with --continual several at once"
    what.add_argument("--source", "--video", action="append", help=text)
    what.add_argument("--web", action="store_true", help="a page to try it in the browser")
    what.add_argument("--image", help="a picture or a folder of them: prints the best classes")
    text = "multiply-adds of a clip (1.2G), latency (40ms) or 25fps; several hold for equal parts"
    add("--budget", action="append", default=[], help=text)
    add("--budget-script", metavar="FILE", help="budgets over time: lines SECONDS BUDGET")
    add("--output", default="output/demo", metavar="DIR", help="for mp4 and CSV")
    add_run(parser)
    add_playing(parser)
    add_options(parser)


def run(args: argparse.Namespace) -> int | None:
    from mutualvideo.budget import Budget
    from mutualvideo.errors import InputError
    from mutualvideo.play.picture_player import describe, recognise_pictures
    from mutualvideo.play.playing_options import play_as_asked
    from mutualvideo.play.playlist import combine
    from mutualvideo.signals import stop_on_signals
    from mutualvideo.web.options import serve_page

    budgets = [Budget.parse(text) for text in args.budget]
    if args.continual and not args.source:
        raise InputError("--continual goes with --source: it is for videos and cameras")
    if args.explain and (args.continual or not args.source):
        raise InputError(
            "--explain goes with --source and clips; the page has it where captum is installed, "
            "pictures by: mutualvideo predict FILES --explain DIR"
        )
    recognizer = open_recognizer(args, "continual" if args.continual else "clip")
    if not budgets and args.budget_script is None:
        if recognizer.frames is None:
            budgets = [Budget.of(recognizer.table.full().macs)]
        else:
            dearest = max(row.cost("macs_per_s") or 0.0 for row in recognizer.frames.rows)
            budgets = [Budget("macs_per_s", dearest)]
    failed = False
    if args.image:
        for found in recognise_pictures(recognizer, args.image, budgets):
            print(describe(*found))
            failed |= isinstance(found[-1], InputError)
        return int(failed)
    with stop_on_signals() as stop:
        if args.web:
            return serve_page(recognizer, args, stop)
        done = []
        for played in play_as_asked(recognizer, args, budgets, stop):
            if isinstance(played, InputError):
                print(f"error: {played}")
                failed = True
                continue
            print(played)
            done.append(played)
            failed |= played.problem is not None
    if done and os.path.isdir(args.source[0]):
        print(f"wrote {combine(done, args.output)}: all {len(done)} videos")
    return 1 if failed else 0
