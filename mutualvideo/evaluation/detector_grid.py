"""From a trained detector to its query table."""

import logging
import os
from typing import Any

import torch
from fvcore.common.config import CfgNode

from mutualvideo.data.class_count import class_names
from mutualvideo.detection.coco_pictures import CocoPictures
from mutualvideo.detection.coco_splits import detection_loader, read_split
from mutualvideo.detection.detector_costs import detector_costs
from mutualvideo.detection.detector_table import macs_convention, scored_table
from mutualvideo.evaluation.detector_latency import about_detector, measure_detector
from mutualvideo.evaluation.detector_scores import Scores, calibrate_on, score_detector
from mutualvideo.evaluation.grid import find_checkpoint, grid_subnets
from mutualvideo.evaluation.results import library_versions, write_summary
from mutualvideo.evaluation.table_files import STATISTICS_NAME, write_table
from mutualvideo.models import (
    adopt_checkpoint_cfg,
    build_model,
    load_weights,
    local_weights,
    read_checkpoint,
)
from mutualvideo.run.checkpoint import require_same_classes
from mutualvideo.run.distributed import Context, wait_for_main
from mutualvideo.run.log import log_json_stats
from mutualvideo.run.tensor_file import write_tensors
from mutualvideo.slim import get_statistics, place
from mutualvideo.subnet import Subnet
from mutualvideo.table.fingerprint import fingerprint
from mutualvideo.table.query import QueryTable, Row

logger = logging.getLogger(__name__)


def evaluate_detector_grid(
    cfg: CfgNode, context: Context, checkpoint_path: str | None = None
) -> QueryTable:
    """What :func:`~mutualvideo.evaluation.build.evaluate_grid` does, for a detector.

    Files: the query table (``query_table.json``, ``.csv``, ``.md``, ``flops_accuracy.png``, with
    latencies ``latency_accuracy.png``), ``query_table.bn.pyth`` with the statistics, and last
    ``results.json``, which also has AP75 and AP of small, medium and large objects.

    Args:
        cfg: the configuration; DETECTOR.PICTURE is what multiply-adds are counted for.
        context: this process; all take part, the main one measures times and writes.
        checkpoint_path: what to evaluate, if not what ``find_checkpoint`` finds: of training here,
            or a ``state_dict`` of torchvision's detector.

    Raises:
        InputError: for a bad grid, checkpoint or data.
    """
    path = local_weights(os.fspath(checkpoint_path or find_checkpoint(cfg)))
    checkpoint = read_checkpoint(path)
    cfg = adopt_checkpoint_cfg(cfg, checkpoint, path)
    data = read_split(cfg, "test")
    require_same_classes(path, checkpoint, class_names(data))
    if not cfg.MODEL.NUM_CLASSES:
        cfg = cfg.clone()
        cfg.MODEL.NUM_CLASSES = data.num_classes
    subnets = grid_subnets(cfg)
    model = build_model(cfg)
    load_weights(model, checkpoint["model_state"], path)
    place(model, context.device).eval()
    loader = detection_loader(cfg, "calibration", context.rank, context.world_size)
    calibrate_on(loader, model, subnets, cfg, context)
    scores = score_detector(model, data, subnets, cfg, context)
    picture = picture_of(cfg)
    times, about_times = None, {}
    if cfg.TABLE.LATENCY and context.is_main:
        times = measure_detector(model, subnets, picture)
        about_times = {"latency": about_detector(context.device, picture)}
    table = scored_table(model, scores, data, picture, times)
    table.metadata.update(_metadata(cfg, context, path, data) | about_times)
    if context.is_main:
        write_tensors(get_statistics(model), os.path.join(cfg.OUTPUT_DIR, STATISTICS_NAME))
        write_table(table, cfg.OUTPUT_DIR)
        _write_scores(table, scores, cfg, data)
        _log_scores(table, len(data))
    wait_for_main(context)
    return table


def detector_cost_table(cfg: CfgNode, context: Context) -> QueryTable:
    """What :func:`~mutualvideo.evaluation.build.cost_table` does, for a detector; writes nothing.

    Raises:
        InputError: for a bad grid.
    """
    subnets, picture = grid_subnets(cfg), picture_of(cfg)
    model = build_model(cfg).to(context.device).eval()
    costs = detector_costs(model, subnets, picture)
    about = {
        "model": cfg.MODEL.MODEL_NAME,
        "macs": macs_convention(model, picture),
        "classes": None,
    }
    times: dict[Subnet, dict[str, Any]] = {}
    if cfg.TABLE.LATENCY:
        times = measure_detector(model, subnets, picture)
        about["latency"] = about_detector(context.device, picture)
    rows = [Row(s, costs[s].macs, costs[s].params, **times.get(s, {})) for s in subnets]
    return QueryTable(rows, about)


def picture_of(cfg: CfgNode) -> tuple[int, int]:
    """(height, width) of the picture that multiply-adds and times are of."""
    size = cfg.DATA.TRAIN_CROP_SIZE
    height, width = cfg.DETECTOR.PICTURE or (size, size)
    return height, width


def _metadata(cfg: CfgNode, context: Context, path: str, data: CocoPictures) -> dict[str, Any]:
    return {
        "model": cfg.MODEL.MODEL_NAME,
        "mode": cfg.MUTUAL.MODE,
        "dataset": os.path.basename(os.path.abspath(cfg.DATA.PATH_TO_DATA_DIR)),
        "manifest": fingerprint(data.file.path),
        "checkpoint": os.path.relpath(path, cfg.OUTPUT_DIR),
        "fingerprint": fingerprint(path),
        "statistics": STATISTICS_NAME,
        "num_classes": cfg.MODEL.NUM_CLASSES,
        "device": str(context.device),
        "torch": torch.__version__,
    }


def _log_scores(table: QueryTable, pictures: int) -> None:
    for row in table:
        ap = {"box_ap": row.box_ap, "box_ap50": row.box_ap50}
        about = {"_type": "test_final", "split": "test_final", "subnet": str(row.subnet)}
        log_json_stats({**about, "videos": pictures, **ap, "macs": row.macs})


def _write_scores(table: QueryTable, scores: Scores, cfg: CfgNode, data: CocoPictures) -> None:
    """``results.json``, last of all: where it lies, the others are whole."""
    same = ("model", "mode", "dataset", "manifest", "checkpoint", "fingerprint", "device")
    about = {
        **{key: table.metadata[key] for key in same},
        "source": cfg.TEST.DATASET,
        "list": os.path.basename(data.file.path),
        "num_classes": cfg.MODEL.NUM_CLASSES,
        "versions": library_versions(cfg.DATA.DECODING_BACKEND),
        "videos": len(data),
        "expected": len(data),
        "missing": [],
    }
    rows = {
        row.subnet: {
            "macs": row.macs,
            **{
                f"{kind}_{name}": value
                for kind, found in scores[row.subnet].items()
                for name, value in vars(found).items()
            },
        }
        for row in table
    }
    write_summary(cfg.OUTPUT_DIR, table, about, rows)
