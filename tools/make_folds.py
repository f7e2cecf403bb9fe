"""Lists for k-fold cross-validation: DIR/fold0/train.csv, DIR/fold0/val.csv, DIR/fold1/...

python tools/make_folds.py --csv data/clips/train.csv data/clips/val.csv --folds 5 \\
    --group-by sequence --output data/clips_folds
python tools/run_net.py --cfg configs/Clips/X3D_S_mutual.yaml \\
    DATA.PATH_TO_DATA_DIR data/clips_folds/fold0 OUTPUT_DIR output/clips/fold0
"""

import argparse

from mutualvideo.commands.tool import run_tool
from mutualvideo.data.prepare.folds import make_folds


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--csv", required=True, nargs="+", metavar="LIST", help="'path label' a line; all together"
    )
    parser.add_argument("--folds", type=int, default=5, help="how many (%(default)s)")
    parser.add_argument(
        "--group-by",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="of the meta file: keep together",
    )
    parser.add_argument("--meta", metavar="CSV", help="(meta.csv beside the first list)")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write into")
    parser.add_argument("--seed", type=int, default=0, help="draws the split (%(default)s)")
    parser.add_argument("--separator", default=" ", help="DATA.PATH_LABEL_SEPARATOR (a space)")
    parser.add_argument("--prefix", default="", help="DATA.PATH_PREFIX (the list's folder)")
    parser.add_argument(
        "--keep-paths",
        action="store_true",
        help="write paths as the lists have them, to train with DATA.PATH_PREFIX (absolute ones)",
    )
    args = parser.parse_args()
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


if __name__ == "__main__":
    run_tool(main)
