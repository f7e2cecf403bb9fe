"""Write a toy data set: videos whose class is a motion (mutualvideo/data/prepare/toy.py), or
pictures of shapes with boxes and masks (mutualvideo/detection/toy_shapes.py).

mutualvideo toy --output data/toy --train 640 --val 160 --seed 0
mutualvideo toy --output data/toy_hard --level hard --train 1200 --val 960
mutualvideo toy --output data/toy_shapes --task detection --train 600 --val 100
mutualvideo toy --film film.mp4 --motions right,grow,down,clockwise --seed 3
"""

from __future__ import annotations

import argparse

from mutualvideo.data.prepare.toy import CLASSES, LEVELS, MOTIONS, make_toy_dataset, write_film
from mutualvideo.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--output", help="folder to write the data set into")
    what.add_argument("--film", metavar="FILE", help="one mp4 instead, whose motion changes")
    text = "recognition: videos; detection: pictures with boxes and masks (%(default)s)"
    add("--task", choices=("recognition", "detection"), default="recognition", help=text)
    text = "of videos: 8 classes, or 20 (%(default)s)"
    add("--level", choices=sorted(LEVELS), default="easy", help=text)
    add("--train", type=int, default=640, help="training videos or pictures (%(default)s)")
    add("--val", type=int, default=160, help="the same for validation (%(default)s)")
    add("--seed", type=int, default=0, help="decides every byte (%(default)s)")
    add("--workers", type=int, help="processes (default: one a CPU)")
    add("--motions", default="right,grow,down,clockwise", help="of the film (%(default)s)")
    add("--motion-seconds", type=float, default=3.0, help="for each motion (%(default)s)")


def run(args: argparse.Namespace) -> None:
    if args.task == "detection":
        _make_pictures(args)
        return
    if args.film:
        write_film(args.film, _labels_of(args.motions), args.motion_seconds, args.seed)
        print(f"wrote {args.film}")
        return
    wrote = make_toy_dataset(
        args.output, args.train, args.val, args.seed, workers=args.workers, level=args.level
    )
    _tell(args, wrote, "videos")


def _make_pictures(args: argparse.Namespace) -> None:
    if args.film or args.level != "easy":
        raise InputError("--task detection: goes with --output, not with --film or --level")
    # Imported when asked for: with it come torchvision's detectors, which take a second.
    from mutualvideo.detection.toy_shapes import make_toy_detection

    _tell(args, make_toy_detection(args.output, args.train, args.val, args.seed), "pictures")


def _tell(args: argparse.Namespace, wrote: bool, what: str) -> None:
    count = f"{args.train} + {args.val} {what}"
    if wrote:
        print(f"wrote {count} to {args.output}")
    else:
        print(f"{args.output} already holds these {count}: nothing to do")


def _labels_of(motions: str) -> list[int]:
    for name in motions.split(","):
        if name not in MOTIONS + CLASSES:
            raise InputError(f"--motions: {name!r} is none of {', '.join(MOTIONS)}")
    return [(MOTIONS + CLASSES).index(name) % len(MOTIONS) for name in motions.split(",")]
