"""Decode every video of a list; write good.csv and bad.csv (path, label, reason).

python tools/check_videos.py --csv data/kinetics/train.csv --output data/kinetics/checked

Exit code 0 if all are good, 1 if some are bad, 2 if the list or the folder cannot be used.
"""

import argparse

from mutualvideo.commands.tool import run_tool
from mutualvideo.data.prepare.check import check_list, training_keys


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--csv", required=True, metavar="LIST", help="'path label' a line")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write into")
    parser.add_argument("--workers", type=int, help="processes (default: one a CPU)")
    parser.add_argument("--separator", default=" ", help="DATA.PATH_LABEL_SEPARATOR (a space)")
    parser.add_argument("--prefix", default="", help="DATA.PATH_PREFIX (the list's folder)")
    parser.add_argument(
        "--timeout", type=float, default=600, help="seconds that a video may take (%(default)s)"
    )
    args = parser.parse_args()
    total, bad = check_list(
        args.csv, args.output, args.separator, args.prefix, args.workers, args.timeout
    )
    keys = training_keys(args.csv, args.separator, args.prefix)
    print(f"train with {args.output}/good.csv and {keys}")
    print(f"{total - bad} of {total} videos are good; {bad} bad: see {args.output}/bad.csv")
    return 1 if bad else 0


if __name__ == "__main__":
    run_tool(main)
