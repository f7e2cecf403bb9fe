"""Write the toy video data set: eight classes of motion, see mutualvideo/data/toy.py.

python tools/toy_dataset.py --output data/toy --train 640 --val 160 --seed 0
"""

import argparse
import sys

from mutualvideo.data.toy import make_toy_dataset
from mutualvideo.errors import InputError


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, help="folder to write into")
    parser.add_argument("--train", type=int, default=640, help="training videos (%(default)s)")
    parser.add_argument("--val", type=int, default=160, help="validation videos (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="decides every byte (%(default)s)")
    parser.add_argument("--workers", type=int, help="processes (default: one a CPU)")
    args = parser.parse_args()
    try:
        wrote = make_toy_dataset(
            args.output, args.train, args.val, args.seed, workers=args.workers
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    count = f"{args.train} + {args.val} videos"
    if wrote:
        print(f"wrote {count} to {args.output}")
    else:
        print(f"{args.output} already holds these {count}: nothing to do")
    return 0


if __name__ == "__main__":
    sys.exit(main())
