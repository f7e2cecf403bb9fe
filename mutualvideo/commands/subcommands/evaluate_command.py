"""Calibrates and evaluates the sub-networks of a trained network; trains nothing.

mutualvideo evaluate --run output/x3d_m
mutualvideo evaluate --run output/x3d_m TEST.NUM_ENSEMBLE_VIEWS 10 OUTPUT_DIR output/x3d_m_10
mutualvideo evaluate --cfg Kinetics/X3D_M_mutual --checkpoint x3d_m.pyth \\
    DATA.PATH_TO_DATA_DIR /data/kinetics OUTPUT_DIR output/x3d_m

Writes the query table, results.json and every video's prediction to OUTPUT_DIR.
"""

from __future__ import annotations

import argparse

from mutualvideo.commands.subcommands.train_command import CFG_HELP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", metavar="DIR", help="OUTPUT_DIR of a run: its configuration")
    what.add_argument("--cfg", help=CFG_HELP)
    add("--checkpoint", metavar="FILE", help="default: the newest, or the best, of the run")
    add("overrides", nargs="*", metavar="KEY VALUE", help="overrides of the configuration")


def run(args: argparse.Namespace) -> None:
    import os

    from mutualvideo.commands.running import run_net
    from mutualvideo.config import in_pairs, trace_run
    from mutualvideo.errors import InputError
    from mutualvideo.evaluation.grid import own_checkpoint

    cfg, overrides = args.cfg, in_pairs(args.overrides)
    if args.run is not None:
        cfg = os.path.join(args.run, "config.yaml")
        if not os.path.isfile(cfg):
            raise InputError(f"{args.run}: holds no config.yaml: name the OUTPUT_DIR of a run")
        moved = ["OUTPUT_DIR", args.run]  # runs are
        found = own_checkpoint(trace_run(cfg, moved)[0])
        if found is not None:
            # Wherever the results go to.
            moved += ["TEST.CHECKPOINT_FILE_PATH", found]
        overrides = [*moved, *overrides]
    if args.checkpoint is not None:
        overrides = [*overrides, "TEST.CHECKPOINT_FILE_PATH", args.checkpoint]
    overrides = [*overrides, "TRAIN.ENABLE", "False", "TEST.ENABLE", "True"]
    run_net(trace_run(cfg, overrides)[0])
