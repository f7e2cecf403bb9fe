"""The table of what every sub-network costs, and with a checkpoint how good it is.

mutualvideo table --cfg configs/Kinetics/X3D_M_mutual.yaml
mutualvideo table --cfg configs/Toy/X3D_mutual.yaml --latency --overlay x3d \\
    --checkpoint output/toy/checkpoints/checkpoint_epoch_00022.pyth \\
    DATA.PATH_TO_DATA_DIR data/toy OUTPUT_DIR output/toy

mutualvideo table --weights zoo:x3d_m --videos path/to/videos --output output/x3d_m

The last is of a network that others have trained, at every number of frames and size, on your
videos: folders named as its classes are, or a list `path label`. Widths need training.

It is printed, and written to OUTPUT_DIR; costs alone only if one is named (--output, OUTPUT_DIR).
Run it again to continue after an interruption.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mutualvideo.commands.subcommands.train_command import CFG_HELP

if TYPE_CHECKING:
    from mutualvideo.models.network import Curve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    either = parser.add_mutually_exclusive_group(required=True).add_argument
    either("--cfg", help=CFG_HELP)
    either("--weights", metavar="NAME", help="released weights instead, see `mutualvideo weights`")
    add("--videos", metavar="DIR", help="with --weights: class folders, or a list `path label`")
    add("--checkpoint", help="calibrate and evaluate this; without it: costs alone")
    add("--latency", action="store_true", help="measure it on this machine")
    add("--backend", default="torch", help="who executes what is measured (%(default)s)")
    add("--batch", type=int, default=1, help="also measure calls with so many clips")
    text = "draw a published curve as well: x3d; another name is answered with all there are"
    add("--overlay", action="append", default=[], metavar="NAME", help=text)
    add("--output", metavar="DIR", help="instead of OUTPUT_DIR")
    add("overrides", nargs="*", metavar="KEY VALUE", help="overrides of the configuration")


def run(args: argparse.Namespace) -> None:
    from mutualvideo.config import in_pairs, trace_cfg, trace_run
    from mutualvideo.errors import InputError
    from mutualvideo.evaluation.build import cost_table, evaluate_grid
    from mutualvideo.models import published_curve
    from mutualvideo.run import distributed
    from mutualvideo.run.lock import exclusive
    from mutualvideo.run.log import setup_logging

    measured = ["TABLE.LATENCY", str(args.latency), "TABLE.LATENCY_BACKEND", args.backend]
    measured += ["TABLE.LATENCY_BATCH", str(args.batch)]
    folder = ["OUTPUT_DIR", args.output] if args.output else []
    overrides = in_pairs(args.overrides) + measured + folder
    overlays = [published_curve(name) for name in args.overlay]
    if args.weights is not None:
        return _of_weights(args, overrides, overlays)
    if args.videos is not None:
        raise InputError("--videos goes with --weights; with --cfg set DATA.PATH_TO_DATA_DIR")
    # Costs alone are of a network without data.
    trace = trace_cfg if args.checkpoint is None else trace_run
    cfg, origins = trace(args.cfg, overrides)
    context = distributed.setup()
    if args.checkpoint is None and "OUTPUT_DIR" not in origins:
        print(cost_table(cfg, context, write=False).to_text())
        return
    try:
        with exclusive(cfg.OUTPUT_DIR, held=context.is_main):
            setup_logging(cfg.OUTPUT_DIR, context.is_main, cfg.LOG_JSON_STATS)
            if args.checkpoint is None:
                cost_table(cfg, context)
            else:
                evaluate_grid(cfg, context, args.checkpoint, overlays)
    finally:
        distributed.cleanup()


def _of_weights(args: argparse.Namespace, overrides: list[str], overlays: list[Curve]) -> None:
    """The table of released weights on one's own videos."""
    from mutualvideo.commands.released_table import NOTE, released_run
    from mutualvideo.config import trace_cfg
    from mutualvideo.engine.run_keys import check_test_keys
    from mutualvideo.errors import InputError
    from mutualvideo.evaluation.build import evaluate_grid
    from mutualvideo.run import distributed
    from mutualvideo.run.lock import exclusive
    from mutualvideo.run.log import setup_logging

    if args.checkpoint or not args.videos:
        raise InputError("--weights NAME wants --videos DIR, and no --checkpoint")
    folder = trace_cfg(None, overrides)[0].OUTPUT_DIR
    context = distributed.setup()
    try:
        with exclusive(folder, held=context.is_main):
            setup_logging(folder, context.is_main)
            cfg, what = released_run(args.weights, args.videos, folder, overrides)
            check_test_keys(cfg)
            if context.is_main:
                print(what, flush=True)
            evaluate_grid(cfg, context, args.weights, overlays)
            if context.is_main:
                print(NOTE.format(name=args.weights))
    finally:
        distributed.cleanup()
