"""Lists for k-fold cross-validation: DIR/fold0/train.csv, DIR/fold0/val.csv, DIR/fold1/...

mutualvideo folds --csv data/clips/train.csv data/clips/val.csv --folds 5 \\
    --group-by sequence --output data/clips_folds
mutualvideo train --cfg configs/Clips/X3D_S_mutual.yaml \\
    DATA.PATH_TO_DATA_DIR data/clips_folds/fold0 OUTPUT_DIR output/clips/fold0
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    text = "'path label' a line; all together"
    add("--csv", required=True, nargs="+", metavar="LIST", help=text)
    add("--folds", type=int, default=5, help="how many (%(default)s)")
    text = "of the meta file: keep together"
    add("--group-by", nargs="+", default=[], metavar="COLUMN", help=text)
    add("--meta", metavar="CSV", help="(meta.csv beside the first list)")
    add("--output", required=True, metavar="DIR", help="folder to write into")
    add("--seed", type=int, default=0, help="draws the split (%(default)s)")
    add("--separator", default=" ", help="DATA.PATH_LABEL_SEPARATOR (a space)")
    add("--prefix", default="", help="DATA.PATH_PREFIX (the list's folder)")
    text = "write paths as the lists have them, to train with DATA.PATH_PREFIX (absolute ones)"
    add("--keep-paths", action="store_true", help=text)


def run(args: argparse.Namespace) -> None:
    from mutualvideo.data.prepare.folds import make_folds

    folds = make_folds(
        args.csv,
        args.folds,
        args.output,
        args.group_by,
        args.meta,
        args.seed,
        args.separator,
        args.prefix,
        args.keep_paths,
    )
    for number, fold in enumerate(folds):
        print(
            f"{args.output}/fold{number}: {len(fold.train)} videos to train on, {len(fold.val)} "
            f"of {fold.groups} {'groups' if args.group_by else 'videos'} to test"
        )
