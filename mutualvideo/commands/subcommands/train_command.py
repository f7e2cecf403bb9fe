"""Trains a network with mutual learning, then calibrates and evaluates its sub-networks.

SIGTERM, ^C and TRAIN.TIME_LIMIT end training with a checkpoint; the same command continues.

mutualvideo train --cfg configs/Kinetics/X3D_M_mutual.yaml \\
    DATA.PATH_TO_DATA_DIR /data/kinetics OUTPUT_DIR output/x3d_m
torchrun --nproc_per_node=8 -m mutualvideo train --cfg ...
"""

from __future__ import annotations

import argparse

CFG_HELP = "YAML file, see configs/, or the name of one of these: Kinetics/X3D_M_mutual"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--cfg", required=True, help=CFG_HELP)
    add("--opts", nargs="+", default=[], metavar="KEY VALUE", help="overrides")
    add("--print-config", action="store_true", help="print every key, and where it comes from")
    add("--dry-run", action="store_true", help="say what a run would be, and write nothing")
    add("overrides", nargs="*", metavar="KEY VALUE", help="the same, bare")


def run(args: argparse.Namespace) -> None:
    from mutualvideo.commands.running import run_net
    from mutualvideo.config import format_cfg, in_pairs, trace_run

    cfg, origins = trace_run(args.cfg, in_pairs(args.opts) + in_pairs(args.overrides))
    if args.print_config:
        return print(format_cfg(cfg, origins), end="")
    return run_net(cfg, args.dry_run)
