"""Finds objects in pictures and videos: copies with boxes drawn on them, and a line for each.

mutualvideo detect street.jpg --run output/shapes
mutualvideo detect pictures/ film.mp4 --run output/shapes --budget 50M --output drawn
mutualvideo detect pictures/ --run output/shapes --threshold 0.3 > found.jsonl

A line is JSON: path, of a video the time, the sub-network that answered, and objects with their
names, scores and boxes (x1 y1 x2 y2 in pixels). Without a budget it is what the full network costs.
Of a file that cannot be read it is path and error, and the exit code is 1.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("files", nargs="+", metavar="PATH", help="pictures, videos, and folders of them")
    add("--run", required=True, metavar="DIR", help="OUTPUT_DIR of a detector's run")
    add("--budget", help="multiply-adds of a picture (1.2G), latency (40ms) or 25fps")
    text = "scores below it are left out (%(default)s)"
    add("--threshold", type=float, default=0.5, help=text)
    add("--output", default="drawn", metavar="DIR", help="where copies go (%(default)s)")
    add("--device", help="cpu, cuda, ... (default: CUDA if there is one)")


def run(args: argparse.Namespace) -> int:
    import json

    from mutualvideo.budget import Budget
    from mutualvideo.play.boxes import draw_files
    from mutualvideo.runtime.adaptive_detector import AdaptiveDetector

    budget = None if args.budget is None else Budget.parse(args.budget)
    detector = AdaptiveDetector.from_run(args.run, args.device)
    detector.set_budget(budget or detector.table.full().macs)
    bad = 0
    for line in draw_files(detector, args.files, args.output, args.threshold):
        bad += "error" in json.loads(line)
        print(line, flush=True)
    return 1 if bad else 0
