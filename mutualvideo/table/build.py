"""From a trained network to its query table."""

import itertools
import logging
import os
import platform
from dataclasses import asdict

import torch
from tqdm import tqdm

from mutualvideo.data.loader import build_loader
from mutualvideo.data.sources import read_videos
from mutualvideo.engine.checkpoint import newest_checkpoint
from mutualvideo.engine.distributed import barrier
from mutualvideo.engine.evaluate import calibrate_from, evaluate
from mutualvideo.engine.log import log_json_stats
from mutualvideo.errors import InputError
from mutualvideo.files import atomic_path
from mutualvideo.models import (
    adopt_checkpoint_cfg,
    build_model,
    full_subnet,
    load_weights,
    read_checkpoint,
    require_runnable,
)
from mutualvideo.slim import count_costs, get_statistics, set_subnet, weights_layout
from mutualvideo.subnet import Subnet
from mutualvideo.table.fingerprint import fingerprint, manifest
from mutualvideo.table.latency import measure_latency
from mutualvideo.table.published_images import image_curves
from mutualvideo.table.query import MACS_CONVENTION, QueryTable, Row
from mutualvideo.table.results import RESULTS_NAME, versions, write_results

logger = logging.getLogger(__name__)

TABLE_NAME = "query_table.json"
STATISTICS_NAME = "query_table.bn.pyth"


class IncompleteError(InputError):
    """Not every video of the list could be evaluated; what could be is written."""


def grid_subnets(cfg):
    """The sub-networks of the TABLE keys: the grid, then the listed ones, each once.

    Raises:
        InputError: if the network cannot run one of them.
    """
    table, full = cfg.TABLE, full_subnet(cfg)
    lists = [table.WIDTHS, table.FRAMES, table.SIZES]
    grid = itertools.product(*(
        values or [value]
        for values, value in zip(lists, (full.width, full.frames, full.size), strict=True)
    ))
    subnets = [Subnet.parse(text) for text in table.SUBNETS]
    if any(lists) or not subnets:
        subnets = [Subnet(*shape) for shape in grid] + subnets
    subnets = list(dict.fromkeys(subnets))
    for subnet in subnets:
        require_runnable(cfg, subnet, "TABLE")
    return subnets


def find_checkpoint(cfg):
    """Path of the checkpoint to evaluate: TEST.CHECKPOINT_FILE_PATH, or OUTPUT_DIR's newest."""
    path = cfg.TEST.CHECKPOINT_FILE_PATH or newest_checkpoint(cfg.OUTPUT_DIR)
    if path is None:
        raise InputError(
            f"nothing to evaluate: {cfg.OUTPUT_DIR} holds no checkpoint; train first, or name one "
            "in TEST.CHECKPOINT_FILE_PATH"
        )
    return path


def evaluate_grid(cfg, context, checkpoint_path=None):
    """Calibrates and evaluates every sub-network of the grid; writes the table to OUTPUT_DIR.

    Files: ``query_table.json``, ``query_table.csv``, ``flops_accuracy.png``,
    ``query_table.bn.pyth``, the statistics of every sub-network, ``results.json`` and the folder
    ``evaluation``, see :func:`~mutualvideo.table.results.write_results`. They are written
    even if videos are missing.

    Args:
        cfg: the configuration.
        context: this process; all take part, the main one writes.
        checkpoint_path: what to evaluate, if not what :func:`find_checkpoint` finds.

    Returns:
        :class:`~mutualvideo.table.QueryTable`.

    Raises:
        InputError: for a bad grid, checkpoint or data.
        IncompleteError: after everything is written, if videos are missing and
            TEST.ALLOW_MISSING is not set.
    """
    path = checkpoint_path or find_checkpoint(cfg)
    checkpoint = read_checkpoint(path)
    cfg = adopt_checkpoint_cfg(cfg, checkpoint, path)
    subnets = grid_subnets(cfg)
    model = build_model(cfg)
    load_weights(model, checkpoint["model_state"], path)
    model.to(context.device, memory_format=weights_layout(model)).eval()
    shards = (context.rank, context.world_size)
    loader = build_loader(cfg, "test", *shards)
    calibrate_from(build_loader(cfg, "calibration", *shards), model, subnets, cfg, context)
    evaluation = evaluate(model, subnets, loader, cfg, context)
    costs = count_costs(model, subnets)
    rows = []
    for subnet in tqdm(subnets, "latency", disable=None, leave=False):
        latency = measure_latency(model, subnet) if cfg.TABLE.LATENCY else None
        cost, accuracy = costs[subnet], evaluation.accuracies[subnet]
        rows.append(
            Row(
                subnet, cost.macs, cost.params, latency_ms=latency, **asdict(accuracy),
                macs_per_video=cost.macs * loader.dataset.num_views,
            )
        )
    set_subnet(model, full_subnet(cfg))
    about = _metadata(cfg, context, path, loader.dataset.videos, evaluation)
    table = QueryTable(rows, about)
    origin = read_videos(cfg.TEST.DATASET, cfg, "test").origin
    if context.is_main:
        _write(table, model, cfg.OUTPUT_DIR, image_curves(cfg))
        more = _about_results(cfg, about, origin)
        write_results(cfg.OUTPUT_DIR, table, evaluation, loader.dataset.videos, more)
        _log_results(table, evaluation)
    barrier()
    if evaluation.missing and not cfg.TEST.ALLOW_MISSING:
        raise IncompleteError(
            f"{evaluation.account(origin)}: all are in {RESULTS_NAME}; repair the list with "
            "tools/check_videos.py or set TEST.ALLOW_MISSING True"
        )
    return table


def _metadata(cfg, context, path, videos, evaluation):
    return {
        "model": cfg.MODEL.MODEL_NAME,
        "mode": cfg.MUTUAL.MODE,
        "dataset": os.path.basename(os.path.abspath(cfg.DATA.PATH_TO_DATA_DIR)),
        "videos": evaluation.videos,
        "expected": evaluation.expected,
        "manifest": manifest(videos),
        "views": f"{cfg.TEST.NUM_ENSEMBLE_VIEWS}x{cfg.TEST.NUM_SPATIAL_CROPS}",
        "macs": MACS_CONVENTION,
        "checkpoint": os.path.relpath(path, cfg.OUTPUT_DIR),
        "fingerprint": fingerprint(path),
        "statistics": STATISTICS_NAME,
        "classes": _class_names(cfg),
        "device": str(context.device),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
    }


def _about_results(cfg, about, origin):
    """What ``results.json`` says beside the results: how they came about."""
    same = ("model", "mode", "dataset", "manifest", "checkpoint", "fingerprint", "device")
    return {
        **{key: about[key] for key in same},
        "source": cfg.TEST.DATASET,
        "list": os.path.basename(origin),
        "num_classes": cfg.MODEL.NUM_CLASSES,
        "views": {"clips": cfg.TEST.NUM_ENSEMBLE_VIEWS, "crops": cfg.TEST.NUM_SPATIAL_CROPS},
        "backend": cfg.DATA.DECODING_BACKEND,
        "versions": versions(cfg.DATA.DECODING_BACKEND),
    }


def _log_results(table, evaluation):
    for row in table:
        log_json_stats({
            "_type": "test_final",
            "split": "test_final",  # what PySlowFast calls it
            "subnet": str(row.subnet),
            "views": table.metadata["views"],
            "videos": evaluation.videos,
            "expected": evaluation.expected,
            "top1_acc": row.top1,
            "top5_acc": row.top5,
            "clip_top1_acc": row.clip_top1,
            "clip_top5_acc": row.clip_top5,
            "macs": row.macs,
            "macs_per_video": row.macs_per_video,
        })


def _class_names(cfg):
    """Names of the classes, by label, or ``None`` if the data set does not tell them."""
    return read_videos(cfg.TEST.DATASET, cfg, "test").classes


def _write(table, model, output_dir, overlays):
    with atomic_path(os.path.join(output_dir, STATISTICS_NAME)) as temporary:
        torch.save(get_statistics(model), temporary)
    table.save_json(os.path.join(output_dir, TABLE_NAME))
    table.save_csv(os.path.join(output_dir, "query_table.csv"))
    table.plot(os.path.join(output_dir, "flops_accuracy.png"), overlays=overlays)
    logger.info("query table in %s:\n%s", output_dir, table.to_text())
