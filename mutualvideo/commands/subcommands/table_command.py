"""The table of what every sub-network costs, and with a checkpoint how good it is.

mutualvideo table --cfg configs/Kinetics/X3D_M_mutual.yaml
mutualvideo table --cfg configs/Toy/X3D_mutual.yaml --latency --overlay x3d \\
    --checkpoint output/toy/checkpoints/checkpoint_epoch_00022.pyth \\
    DATA.PATH_TO_DATA_DIR data/toy OUTPUT_DIR output/toy

It is printed, and written to OUTPUT_DIR; costs alone only if one is named (--output, OUTPUT_DIR).
Run it again to continue after an interruption.
"""

from __future__ import annotations

import argparse

from mutualvideo.commands.subcommands.train_command import CFG_HELP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--cfg", required=True, help=CFG_HELP)
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
    from mutualvideo.evaluation.build import cost_table, evaluate_grid
    from mutualvideo.models import published_curve
    from mutualvideo.run import distributed
    from mutualvideo.run.lock import exclusive
    from mutualvideo.run.log import setup_logging

    measured = ["TABLE.LATENCY", str(args.latency), "TABLE.LATENCY_BACKEND", args.backend]
    measured += ["TABLE.LATENCY_BATCH", str(args.batch)]
    folder = ["OUTPUT_DIR", args.output] if args.output else []
    overrides = in_pairs(args.overrides) + measured + folder
    # Costs alone are of a network without data.
    trace = trace_cfg if args.checkpoint is None else trace_run
    cfg, origins = trace(args.cfg, overrides)
    overlays = [published_curve(name) for name in args.overlay]
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
