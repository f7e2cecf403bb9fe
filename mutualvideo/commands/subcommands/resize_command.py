"""Re-encode a tree of videos for training: small frames, key frames close together.

mutualvideo resize --input data/kinetics --output data/kinetics_256 \\
    --csv data/kinetics/train.csv data/kinetics/val.csv

With --shards the videos of the lists are packed into tar files, as webdataset reads them, and the
new lists name members of those (docs/data.md).

Run it again to continue. Exit code 0 if all videos are there, 1 if some could not be read
(see bad.csv in the output), 2 if the folders, lists or settings cannot be used.
"""

from __future__ import annotations

import argparse

from mutualvideo.data.prepare.resize import Settings, resize_tree
from mutualvideo.data.prepare.resize_shards import resize_to_shards
from mutualvideo.errors import InputError
from mutualvideo.media_kind import VIDEO_ENDINGS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    text = f"folder of videos: {' '.join(sorted(VIDEO_ENDINGS))}"
    add("--input", required=True, metavar="TREE", help=text)
    add("--output", required=True, metavar="TREE", help="the same relative paths, as .mp4")
    add("--short-side", type=int, default=256, help="pixels, never enlarged (%(default)s)")
    add("--gop", type=int, default=16, help="frames between key frames at most (%(default)s)")
    add("--crf", type=int, default=20, help="x264's quality, 0 to 51 (%(default)s)")
    add("--shards", action="store_true", help="pack the videos of the lists into tar files")
    add("--shard-mb", type=int, metavar="MIB", help="size of a tar at most (256)")
    add("--workers", type=int, help="processes (default: one a CPU)")
    text = "lists to write with the new paths"
    add("--csv", nargs="+", default=[], metavar="LIST", help=text)
    add("--separator", default=" ", help="DATA.PATH_LABEL_SEPARATOR (a space)")
    add("--prefix", default="", help="DATA.PATH_PREFIX (the list's folder)")
    add("--timeout", type=float, default=3600, help="seconds that a video may take (%(default)s)")


def run(args: argparse.Namespace) -> int:
    if args.shard_mb is not None and not args.shards:
        raise InputError("--shard-mb is of --shards: give both or neither")
    settings = Settings(args.short_side, args.gop, args.crf)
    how = args.separator, args.prefix, args.workers, args.timeout
    if args.shards:
        size = 256 if args.shard_mb is None else args.shard_mb
        done = resize_to_shards(args.input, args.output, args.csv, settings, size, *how)
        print(f"train with DATA.PATH_TO_DATA_DIR {args.output} DATA.SAMPLER shards")
    else:
        done = resize_tree(args.input, args.output, settings, args.csv, *how)
    print(f"{done.written} videos resized, {done.skipped} were there already")
    if done.bad:
        print(f"{done.bad} could not be resized: see {args.output}/bad.csv")
    return 1 if done.bad else 0
