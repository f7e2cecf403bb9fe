"""A run, from its configuration to its query table: what ``train`` and ``evaluate`` call."""

import logging
import os
from functools import partial

from fvcore.common.config import CfgNode

from mutualvideo.config import load_cfg, save_cfg
from mutualvideo.engine.dry_run import dry_run, has_data, tell
from mutualvideo.engine.preflight import check_keys, preflight
from mutualvideo.engine.tasks import task_of
from mutualvideo.engine.train import train
from mutualvideo.evaluation.build import IncompleteError, evaluate_grid
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
    preflight(cfg, context)
    trained = None
    if cfg.TRAIN.ENABLE:
        trained = train(cfg, context, begins=partial(_write_down, cfg, context))
        if trained is None:  # ended early
            return
    if cfg.TEST.ENABLE:
        try:
            evaluate_grid(cfg, context, trained)
        except IncompleteError:  # what there is, is written
            _write_down_evaluation(cfg, context)
            raise
        _write_down_evaluation(cfg, context)
    if cfg.TEST.ENABLE and cfg.TEST.EMA:
        evaluate_average(cfg, context, trained)


def _write_down(cfg: CfgNode, context: distributed.Context) -> None:
    """``config.yaml`` and the environment; of what was refused nothing is written."""
    if context.is_main:
        save_cfg(cfg)
        write_environment(cfg.OUTPUT_DIR, context)


def _write_down_evaluation(cfg: CfgNode, context: distributed.Context) -> None:
    """The same of an evaluation by itself; a training's stay, since more is made from them."""
    path = os.path.join(cfg.OUTPUT_DIR, "config.yaml")
    if cfg.TRAIN.ENABLE or (os.path.isfile(path) and load_cfg(path).TRAIN.ENABLE):
        return
    _write_down(cfg, context)
