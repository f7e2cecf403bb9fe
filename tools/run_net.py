"""Trains a network with mutual learning, then calibrates and evaluates its sub-networks.

SIGTERM, ^C and TRAIN.TIME_LIMIT end training with a checkpoint; the same command continues.

python tools/run_net.py --cfg configs/Kinetics/X3D_M_mutual.yaml \\
    DATA.PATH_TO_DATA_DIR /data/kinetics OUTPUT_DIR output/x3d_m
torchrun --nproc_per_node=8 tools/run_net.py --cfg ...
"""

import argparse
import logging

from mutualvideo.commands.tool import run_tool
from mutualvideo.config import format_cfg, save_cfg, trace_run
from mutualvideo.data.class_count import settle_classes
from mutualvideo.engine.dry_run import dry_run
from mutualvideo.engine.preflight import check_keys, preflight
from mutualvideo.engine.train import train
from mutualvideo.evaluation.build import evaluate_grid
from mutualvideo.evaluation.ema_table import evaluate_average
from mutualvideo.run import distributed
from mutualvideo.run.environment import write_environment
from mutualvideo.run.lock import exclusive
from mutualvideo.run.log import setup_logging
from mutualvideo.signals import Interrupted, end_on_signals


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--cfg", required=True, help="YAML file, see configs/")
    add("--opts", nargs="+", default=[], metavar="KEY VALUE", help="overrides")
    add("--print-config", action="store_true", help="print every key, and where it comes from")
    add("--dry-run", action="store_true", help="say what a run would be, and write nothing")
    add("overrides", nargs="*", metavar="KEY VALUE", help="the same, bare")
    # Overrides may stand on both sides of an option.
    return parser.parse_intermixed_args()


def main():
    args = parse_args()
    cfg, origins = trace_run(args.cfg, args.opts + args.overrides)
    if args.print_config:
        return print(format_cfg(cfg, origins), end="")
    # What can be wrong is found before hours of training, not after.
    check_keys(cfg)
    context = distributed.setup()
    try:
        if args.dry_run:
            preflight(cfg, context)
            dry_run(cfg, context)
            return
        with exclusive(cfg.OUTPUT_DIR, held=context.is_main), end_on_signals():
            run(cfg, context)
    except Interrupted:
        logging.info("ended early, asked to by a signal: the same command continues")
    finally:
        distributed.cleanup()


def run(cfg, context):
    setup_logging(cfg.OUTPUT_DIR, context.is_main)
    logging.info(context.describe())
    if cfg.TRAIN.ENABLE:
        cfg = settle_classes(cfg)
    if context.is_main:
        save_cfg(cfg)
        write_environment(cfg.OUTPUT_DIR, context)
    preflight(cfg, context)
    trained = train(cfg, context) if cfg.TRAIN.ENABLE else None
    if cfg.TRAIN.ENABLE and trained is None:  # ended early
        return
    if cfg.TEST.ENABLE:
        evaluate_grid(cfg, context, trained)
    if cfg.TEST.ENABLE and cfg.TEST.EMA:
        evaluate_average(cfg, context, trained)


if __name__ == "__main__":
    run_tool(main)
