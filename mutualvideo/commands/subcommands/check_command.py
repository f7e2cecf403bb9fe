"""Decode every video of a list; write good.csv and bad.csv (path, label, reason).

What is good is written under the list's own name too, so that training takes the folder.
In place of a list, a folder of videos: bad.csv names those that have to leave it.

mutualvideo check --csv data/kinetics/train.csv --output data/kinetics/checked
mutualvideo check --csv clips --output checked

Exit code 0 if all are good, 1 if some are bad, 2 if the list or the folder cannot be used.
"""

from __future__ import annotations

import argparse
import os


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--csv", required=True, metavar="LIST", help="'path label' a line, or a folder")
    add("--output", required=True, metavar="DIR", help="folder to write into")
    add("--workers", type=int, help="processes (default: one a CPU)")
    add("--separator", default=" ", help="DATA.PATH_LABEL_SEPARATOR (a space)")
    add("--prefix", default="", help="DATA.PATH_PREFIX (the list's folder)")
    add("--timeout", type=float, default=600, help="seconds that a video may take (%(default)s)")


def run(args: argparse.Namespace) -> int:
    from mutualvideo.data.prepare.check import check_folder, check_list, training_keys

    how = args.workers, args.timeout
    if of_folder := os.path.isdir(args.csv):
        total, bad = check_folder(args.csv, args.output, *how)
    else:
        total, bad = check_list(args.csv, args.output, args.separator, args.prefix, *how)
    if bad < total and not of_folder:
        keys = training_keys(args.csv, args.separator, args.prefix)
        print(f"train with DATA.PATH_TO_DATA_DIR {args.output} {keys}")
    reasons = f"; {bad} bad: see {args.output}/bad.csv" if bad else ""
    print(f"{total - bad} of {total} videos are good{reasons}")
    return 1 if bad else 0
