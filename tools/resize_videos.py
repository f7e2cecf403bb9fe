"""Re-encode a tree of videos for training: small frames, key frames close together.

python tools/resize_videos.py --input data/kinetics --output data/kinetics_256 \\
    --csv data/kinetics/train.csv data/kinetics/val.csv

Run it again to continue. Exit code 0 if all videos are there, 1 if some could not be read
(see bad.csv in the output), 2 if the folders, lists or settings cannot be used.
"""

import argparse

from mutualvideo.commands.tool import run_tool
from mutualvideo.data.prepare.resize import EXTENSIONS, Settings, resize_tree


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--input", required=True, metavar="TREE", help=f"folder of videos: {' '.join(EXTENSIONS)}"
    )
    parser.add_argument(
        "--output", required=True, metavar="TREE", help="the same relative paths, as .mp4"
    )
    parser.add_argument(
        "--short-side", type=int, default=256, help="pixels, never enlarged (%(default)s)"
    )
    parser.add_argument(
        "--gop", type=int, default=16, help="frames between key frames at most (%(default)s)"
    )
    parser.add_argument("--crf", type=int, default=20, help="x264's quality, 0 to 51 (%(default)s)")
    parser.add_argument("--workers", type=int, help="processes (default: one a CPU)")
    parser.add_argument(
        "--csv", nargs="+", default=[], metavar="LIST", help="lists to write with the new paths"
    )
    parser.add_argument("--separator", default=" ", help="DATA.PATH_LABEL_SEPARATOR (a space)")
    parser.add_argument("--prefix", default="", help="DATA.PATH_PREFIX (the list's folder)")
    parser.add_argument(
        "--timeout", type=float, default=3600, help="seconds that a video may take (%(default)s)"
    )
    args = parser.parse_args()
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


if __name__ == "__main__":
    run_tool(main)
