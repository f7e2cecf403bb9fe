"""Re-encode a tree of videos for training: small frames, key frames close together.

mutualvideo resize --input data/kinetics --output data/kinetics_256 \\
    --csv data/kinetics/train.csv data/kinetics/val.csv

Run it again to continue. Exit code 0 if all videos are there, 1 if some could not be read
(see bad.csv in the output), 2 if the folders, lists or settings cannot be used.
"""

from __future__ import annotations

import argparse

from mutualvideo.data.prepare.resize import EXTENSIONS, Settings, resize_tree


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    text = f"folder of videos: {' '.join(EXTENSIONS)}"
    add("--input", required=True, metavar="TREE", help=text)
    add("--output", required=True, metavar="TREE", help="the same relative paths, as .mp4")
    add("--short-side", type=int, default=256, help="pixels, never enlarged (%(default)s)")
    add("--gop", type=int, default=16, help="frames between key frames at most (%(default)s)")
    add("--crf", type=int, default=20, help="x264's quality, 0 to 51 (%(default)s)")
    add("--workers", type=int, help="processes (default: one a CPU)")
    text = "lists to write with the new paths"
    add("--csv", nargs="+", default=[], metavar="LIST", help=text)
    add("--separator", default=" ", help="DATA.PATH_LABEL_SEPARATOR (a space)")
    add("--prefix", default="", help="DATA.PATH_PREFIX (the list's folder)")
    add("--timeout", type=float, default=3600, help="seconds that a video may take (%(default)s)")


def run(args: argparse.Namespace) -> int:
    done = resize_tree(
        args.input,
        args.output,
        Settings(args.short_side, args.gop, args.crf),
        args.csv,
        args.separator,
        args.prefix,
        args.workers,
        args.timeout,
    )
    print(f"{done.written} videos resized, {done.skipped} were there already")
    if done.bad:
        print(f"{done.bad} could not be resized: see {args.output}/bad.csv")
    return 1 if done.bad else 0
