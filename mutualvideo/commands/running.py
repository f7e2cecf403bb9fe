"""A run, from its configuration to its query table: what ``train`` and ``evaluate`` call."""

import logging

from fvcore.common.config import CfgNode

from mutualvideo.config import save_cfg
from mutualvideo.engine.dry_run import dry_run, has_data, tell
from mutualvideo.engine.preflight import check_keys, preflight
from mutualvideo.engine.tasks import task_of
from mutualvideo.engine.train import train
from mutualvideo.evaluation.build import evaluate_grid
from mutualvideo.evaluation.ema_table import evaluate_average
from mutualvideo.run import distributed
from mutualvideo.run.environment import write_environment
from mutualvideo.run.lock import exclusive
from mutualvideo.run.log import setup_logging
from mutualvideo.signals import Interrupted, end_on_signals


def run_net(cfg: CfgNode, dry: bool = False) -> None:
    """Trains (TRAIN.ENABLE) and evaluates (TEST.ENABLE) into OUTPUT_DIR.

    Args:
        cfg: the configuration.
        dry: says what a run would be instead, and writes nothing.

    Raises:
        InputError: for whatever is wrong with configuration, data or checkpoints.
    """
    # What can be wrong is found before hours of training, not after.
    check_keys(cfg)
    context = distributed.setup()
    try:
        if dry:
            if context.is_main:
                tell("looking at keys, lists, libraries and disks ...")
            preflight(cfg, context, has_data(cfg) or not cfg.TRAIN.ENABLE)
            dry_run(cfg, context)
            return
        with exclusive(cfg.OUTPUT_DIR, held=context.is_main), end_on_signals():
            _run(cfg, context)
    except Interrupted:
        logging.info("ended early, asked to by a signal: the same command continues")
    finally:
        distributed.cleanup()


def _run(cfg: CfgNode, context: distributed.Context) -> None:
    setup_logging(cfg.OUTPUT_DIR, context.is_main, cfg.LOG_JSON_STATS)
    logging.info(context.describe())
    if cfg.TRAIN.ENABLE:
        cfg = task_of(cfg).settle(cfg)
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
