"""Trains what a plan asks for and is not there yet, and reports how its arms compare.

A plan is a YAML file: a base configuration, arms with their overrides, seeds or folds; see
docs/training.md. Stopped, the same command goes on. Results go beside the plan: runs.csv (a line
for each run and row), table.md, plot.png and, of a plan with CURVES, training.png.

mutualvideo compare docs/results/toy_hard/plan.yaml --runs output/toy_hard --jobs 2 \\
    DATA.PATH_TO_DATA_DIR data/toy_hard
mutualvideo compare docs/results/toy_hard/plan.yaml --report
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("plan", metavar="PLAN.yaml")
    add("--runs", metavar="DIR", help="where the runs go (output/compare)")
    add("--jobs", type=int, default=1, metavar="N", help="runs at a time")
    add("--arms", nargs="+", default=[], metavar="ARM", help="train these alone, report all")
    add("--output", metavar="DIR", help="where results go, by default beside the plan")
    text = "train nothing: table and plot from runs.csv, and what is finished in --runs, if given"
    add("--report", action="store_true", help=text)
    add("overrides", nargs="*", metavar="KEY VALUE", help="for all arms")


def run(args: argparse.Namespace) -> int | None:
    import os
    from pathlib import Path

    from mutualvideo.comparison.execute import execute
    from mutualvideo.comparison.plan import read_plan
    from mutualvideo.comparison.plots import plot, plot_training
    from mutualvideo.comparison.records import add_records, collect, load_records
    from mutualvideo.comparison.report import json_line, markdown
    from mutualvideo.comparison.summary import Summary
    from mutualvideo.errors import InputError
    from mutualvideo.files import atomic_path
    from mutualvideo.run.log import setup_logging

    if args.jobs < 1:
        raise InputError(f"--jobs {args.jobs}: expected how many runs at a time, 1 or more")
    plan = read_plan(args.plan, args.overrides)
    output = Path(args.output or Path(args.plan).parent)
    failures = {}
    if args.report and args.runs is None:
        records = load_records(output / "runs.csv")
    else:
        folder = args.runs or "output/compare"
        if args.report and not os.path.isdir(folder):
            raise InputError(
                f"--runs {folder}: no such folder; without --report they are made there"
            )
        if not args.report:
            setup_logging(folder, True)
            failures = execute(plan, folder, args.jobs, args.arms)
        records = add_records(output / "runs.csv", collect(plan, folder))
    if failures and not records:
        return _failed(failures)
    summary = Summary(plan, records)
    found = [summary.difference(*pair) for pair in plan.pairs]
    differences = [one for one in found if one is not None]
    text = markdown(summary, differences)
    with atomic_path(output / "table.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    plot(summary, output / "plot.png")
    if plan.curves:
        plot_training(summary, output / "training.png")
    print(text)
    for one in differences:
        print(json_line(one))
    return _failed(failures) if failures else None


def _failed(failures: dict[str, str]) -> int:
    import logging

    told = "; ".join(f"{folder}: {reason}" for folder, reason in failures.items())
    logging.error("%d runs failed: %s", len(failures), told)
    return 1
