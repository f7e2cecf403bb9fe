"""Recognises videos (with a network of pictures, pictures): a line each, and one CSV over all.

mutualvideo predict new.mp4 --run output/toy
mutualvideo predict videos/ more/*.mp4 --run output/toy --budget 20ms --views 3
mutualvideo predict videos/ --run output/toy --json > answers.jsonl
mutualvideo predict videos/ --run output/toy --features features.npz
mutualvideo predict videos/ --run output/toy --explain maps --budget 20M

The CSV has the probability of every class. Without a budget it is what the full network costs.
With --features or --explain the budget's sub-network answers every file, whatever it takes here.
Exit code 1 if a file could not be read: it is named, and the others are recognised.
"""

from __future__ import annotations

import argparse
import sys

from mutualvideo.commands.run_options import add_run, open_recognizer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("files", nargs="+", metavar="PATH", help="files, and folders of them at any depth")
    add("--budget", help="multiply-adds of a clip (1.2G), latency (40ms) or 25fps")
    add("--views", type=int, default=1, help="clips of a video, scores averaged (%(default)s)")
    text = "CSV over all files (%(default)s)"
    add("--output", default="predictions.csv", metavar="FILE", help=text)
    add("--json", action="store_true", help="print JSON, a line for each file")
    text = "NumPy archive of what enters the classifier: paths, features, scores, classes, subnet"
    add("--features", metavar="FILE.npz", help=text)
    text = "writes what each video's answer rests on here, Grad-CAM over its middle clip"
    add("--explain", metavar="DIR", help=text)
    add_run(parser)


def run(args: argparse.Namespace) -> int:
    from mutualvideo.budget import Budget
    from mutualvideo.play.file_answers import answer_files, answers_csv, save_features

    budget = None if args.budget is None else Budget.parse(args.budget)
    recognizer = open_recognizer(args)
    row = recognizer.set_budget(budget or recognizer.table.full().macs)
    explainer = None
    if args.explain:
        from mutualvideo.play.explained import write_explained
        from mutualvideo.runtime.explainer import Explainer

        explainer = Explainer(recognizer)
    if args.features or args.explain:
        # Features of two sub-networks cannot be compared: none is exchanged on the way.
        recognizer.switch(row.subnet)
    bad, featured = 0, []
    with answers_csv(args.output, recognizer.class_names) as write:
        for answer in answer_files(recognizer, args.files, args.views, bool(args.features)):
            write(answer)
            if answer.features is not None:
                featured.append(answer)
            if explainer is not None and answer.scores is not None:
                best = int(answer.scores.argmax())
                write_explained(explainer, row.subnet, answer.path, args.explain, best)
            bad += answer.error is not None
            if args.json:
                print(answer.as_json(), flush=True)
            else:
                print(answer, file=sys.stderr if answer.error else sys.stdout, flush=True)
    if args.features:
        save_features(args.features, featured, row.subnet)
    if not args.json:
        print(
            f"wrote {args.output}"
            + "".join(f", {path}" for path in (args.features, args.explain) if path)
        )
    return 1 if bad else 0
