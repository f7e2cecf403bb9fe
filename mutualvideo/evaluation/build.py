"""From a trained network to its query table."""

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import nn

from mutualvideo.backends import make_backend
from mutualvideo.backends.common.latency import about_latency, measure_rows
from mutualvideo.data.class_count import class_names
from mutualvideo.data.dataset import VideoDataset
from mutualvideo.data.loader import build_loader
from mutualvideo.data.sources import read_videos
from mutualvideo.errors import InputError
from mutualvideo.evaluation.beside_table import write_cascades, write_continual
from mutualvideo.evaluation.board import show_table
from mutualvideo.evaluation.choose_statistics import choose_statistics, require_choice
from mutualvideo.evaluation.continual_rows import check_continual, continual_rows, for_streams
from mutualvideo.evaluation.evaluate import evaluate
from mutualvideo.evaluation.grid import find_checkpoint, grid_subnets
from mutualvideo.evaluation.results import RESULTS_NAME, library_versions, write_results
from mutualvideo.evaluation.scores import Evaluation
from mutualvideo.evaluation.table_files import STATISTICS_NAME, write_table
from mutualvideo.models import (
    adopt_checkpoint_cfg,
    build_model,
    classes_of,
    freeze,
    full_subnet,
    load_weights,
    local_weights,
    network_of,
    read_checkpoint,
)
from mutualvideo.models.network import Curve
from mutualvideo.models.weights.zoo import PREFIX as ZOO_PREFIX
from mutualvideo.registry import is_detector
from mutualvideo.run.bars import tracked
from mutualvideo.run.checkpoint import require_same_classes, save_weights
from mutualvideo.run.distributed import Context, barrier, by_all, wait_for_main
from mutualvideo.run.log import log_json_stats
from mutualvideo.run.resume import Work, work_key
from mutualvideo.run.tensor_file import write_tensors
from mutualvideo.run.trained_videos import warn_if_trained_on
from mutualvideo.slim import (
    calibrate,
    count_costs,
    get_statistics,
    load_statistics,
    place,
    set_subnet,
)
from mutualvideo.subnet import Subnet
from mutualvideo.table.feeding import feeding
from mutualvideo.table.fingerprint import fingerprint, manifest
from mutualvideo.table.query import MACS_CONVENTION, QueryTable, Row

logger = logging.getLogger(__name__)

# Somebody else's weights with the configuration that they were evaluated by.
WEIGHTS_NAME = "weights.pyth"


class IncompleteError(InputError):
    """Not every video of the list could be evaluated; what could be is written."""


def cost_table(cfg: CfgNode, context: Context, write: bool = True) -> QueryTable:
    """The table of a network that was not trained: costs, and latencies with TABLE.LATENCY.

    Writes ``query_table.json``, ``.csv`` and ``.md`` to OUTPUT_DIR, unless ``write`` is False.

    Returns:
        :class:`~mutualvideo.table.QueryTable`.

    Raises:
        InputError: for a bad grid or backend.
    """
    if is_detector(cfg.MODEL.MODEL_NAME):
        # Imported when it is asked: torchvision's detectors take a second.
        from mutualvideo.evaluation.detector_grid import detector_cost_table

        table = detector_cost_table(cfg, context)
        if context.is_main and write:
            write_table(table, cfg.OUTPUT_DIR)
        return table
    subnets = grid_subnets(cfg)
    model = build_model(cfg).eval()
    costs = count_costs(model, subnets)
    about = {"model": cfg.MODEL.MODEL_NAME, "macs": MACS_CONVENTION, "classes": None}
    times: dict[str, dict[str, Any]] = {}
    if cfg.TABLE.LATENCY:
        # Of noise: statistics change no times, but without any nothing answers.
        full = full_subnet(cfg)
        frames = () if full.frames is None else (full.frames,)
        calibrate(model, subnets, [torch.randn(1, 3, *frames, full.size, full.size)])
        times, about["latency"] = _latencies(cfg, context, model, subnets, None)
    rows = [Row(s, costs[s].macs, costs[s].params, **times.get(str(s), {})) for s in subnets]
    table = QueryTable(rows, about)
    if context.is_main and write:
        write_table(table, cfg.OUTPUT_DIR, ())
    return table


def evaluate_grid(
    cfg: CfgNode,
    context: Context,
    checkpoint_path: str | None = None,
    overlays: Sequence[Curve] = (),
) -> QueryTable:
    """Calibrates and evaluates every sub-network of the grid; writes the table to OUTPUT_DIR.

    Of a detector see :func:`~mutualvideo.evaluation.detector_grid.evaluate_detector_grid`. With
    TABLE.STATISTICS rows may keep the full network's statistics instead of calibrated ones.

    Files: ``query_table.json``, ``.csv`` and ``.md``; ``flops_accuracy.png``, and with latencies
    ``latency_accuracy.png``; ``query_table.bn.pyth``, the statistics of every sub-network;
    with TABLE.CASCADES ``query_table.cascade.json`` and ``cascades.png``; with TABLE.CONTINUAL
    ``query_table.continual.json``, ``.md`` and ``.csv`` and ``continual_accuracy.png``;
    ``results.json`` and the folder ``evaluation``, see
    :func:`~mutualvideo.evaluation.results.write_results`; the same for TensorBoard, see
    :func:`~mutualvideo.evaluation.board.show_table`; of weights that carry no configuration
    ``weights.pyth``, a checkpoint that does. They are written even if videos are missing.
    Interrupted, the same call goes on where it stopped.

    Args:
        cfg: the configuration.
        context: this process; all take part, the main one writes.
        checkpoint_path: what to evaluate, if not what :func:`find_checkpoint` finds.
        overlays: curves to draw beside the rows, see ``plot_table``.

    Returns:
        :class:`~mutualvideo.table.QueryTable`.

    Raises:
        InputError: for a bad grid, checkpoint or data.
        IncompleteError: after everything is written, if videos are missing and
            TEST.ALLOW_MISSING is not set.
    """
    if is_detector(cfg.MODEL.MODEL_NAME):
        # Imported when it is asked: torchvision's detectors take a second.
        from mutualvideo.evaluation.detector_grid import evaluate_detector_grid

        return evaluate_detector_grid(cfg, context, checkpoint_path)
    named = os.fspath(checkpoint_path or find_checkpoint(cfg))
    path = local_weights(named)
    checkpoint = read_checkpoint(path)
    cfg = adopt_checkpoint_cfg(cfg, checkpoint, path)
    if not cfg.MODEL.NUM_CLASSES:
        cfg = cfg.clone()
        cfg.MODEL.NUM_CLASSES = classes_of(checkpoint)
    subnets = grid_subnets(cfg)
    if named.startswith(ZOO_PREFIX):
        _require_trained_width(subnets, named)
    require_choice(cfg.TABLE.STATISTICS)
    model = build_model(cfg)
    load_weights(model, checkpoint["model_state"], path)
    freeze(model, cfg)  # calibration leaves frozen statistics of the full network alone
    place(model, context.device).eval()
    shards = (context.rank, context.world_size)
    loader = build_loader(cfg, "test", *shards)
    data = loader.dataset
    check_continual(cfg, data.segments)
    require_same_classes(path, checkpoint, class_names(data))
    if context.is_main:
        warn_if_trained_on(path, checkpoint, data.videos)
    key = work_key(cfg, fingerprint(path), manifest(data.videos), subnets, context.world_size)
    work = Work(cfg.OUTPUT_DIR, key, context.rank)
    # A process that has lost its work file does not begin alone: the others would not take part.
    if not by_all(context, work.get("statistics") is not None):
        chosen = choose_statistics(model, subnets, cfg, context)
        work.save(statistics=get_statistics(model), chosen=chosen)
    else:
        load_statistics(model, work.get("statistics"))
    if not isinstance(checkpoint.get("cfg"), dict):
        path = os.path.join(cfg.OUTPUT_DIR, WEIGHTS_NAME)
        if context.is_main:
            save_weights(cfg, model, path)
        barrier()
    evaluation = evaluate(model, subnets, loader, cfg, context, work)
    costs = count_costs(model, subnets)
    about = _metadata(cfg, context, path, data, evaluation)
    times: dict[str, dict[str, Any]] = {}
    if cfg.TABLE.LATENCY and context.is_main:
        times, about["latency"] = _latencies(cfg, context, model, subnets, work)
    rows = [
        Row(
            subnet,
            costs[subnet].macs,
            costs[subnet].params,
            macs_per_video=costs[subnet].macs * data.num_views,
            statistics=work.get("chosen")[str(subnet)],
            **asdict(evaluation.accuracies[subnet]),
            **asdict(evaluation.averages[subnet]),
            **times.get(str(subnet), {}),
        )
        for subnet in subnets
    ]
    set_subnet(model, full_subnet(cfg))
    table = QueryTable(rows, about)
    if context.is_main:
        place_of = os.path.join(cfg.OUTPUT_DIR, STATISTICS_NAME)
        write_tensors(get_statistics(model), place_of)
        table.metadata["statistics_fingerprint"] = fingerprint(place_of)
        if cfg.TABLE.CASCADES and cfg.DATA.MULTI_LABEL:
            logger.info("no cascades: they go by the surest of classes that exclude one another")
        elif cfg.TABLE.CASCADES:
            write_cascades(table, evaluation, cfg.OUTPUT_DIR)
        if cfg.TABLE.CONTINUAL:
            which = {subnet: work.get("chosen")[str(subnet)] for subnet in subnets}
            training = read_videos(cfg.TRAIN.DATASET, cfg, "train").videos
            network = for_streams(model, which, training, cfg)
            found = continual_rows(network, subnets, data.videos, cfg)
            write_continual(table, found, get_statistics(network), cfg.OUTPUT_DIR)
        write_table(table, cfg.OUTPUT_DIR, [*network_of(cfg).published(cfg), *overlays])
        more = _about_results(cfg, about, data.origin)
        write_results(cfg.OUTPUT_DIR, table, evaluation, data.videos, more)
        _log_results(table, evaluation)
        show_table(table, cfg.OUTPUT_DIR)
    wait_for_main(context)
    work.remove()
    if evaluation.missing and not cfg.TEST.ALLOW_MISSING:
        raise IncompleteError(
            f"{evaluation.account(data.origin)}: all are in {RESULTS_NAME}; repair the list with "
            "`mutualvideo check` or set TEST.ALLOW_MISSING True"
        )
    return table


def _require_trained_width(subnets: Sequence[Subnet], name: str) -> None:
    """Raises InputError for a width that nobody has trained: released weights have one."""
    for subnet in subnets:
        if subnet.width != 1:
            raise InputError(
                f"TABLE: {name} was trained at width 1, so {subnet} knows nothing: other frames "
                "and sizes need no training, other widths do; set TABLE.WIDTHS [1.0], or train "
                "from it (TRAIN.CHECKPOINT_FILE_PATH)"
            )


def _latencies(
    cfg: CfgNode,
    context: Context,
    model: nn.Module,
    subnets: list[Subnet],
    work: Work | None,
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """``({subnet as text: fields of its row}, what they depend on)``."""
    batch = cfg.TABLE.LATENCY_BATCH
    if batch < 1:
        raise InputError(f"TABLE.LATENCY_BATCH must be at least 1, not {batch}")
    name, device = cfg.TABLE.LATENCY_BACKEND, None
    if name.startswith("torch"):
        device = str(context.device)
    backend = make_backend(name, model, device)
    times = dict(work.get("times", {})) if work else {}
    missing = [subnet for subnet in subnets if str(subnet) not in times]
    measured = measure_rows(backend, missing, batch)
    for subnet, found in tracked(measured, "latency", len(missing), unit="sub-networks"):
        one = found[1]
        times[str(subnet)] = {"latency_ms": one.median_ms, "latency_p90_ms": one.p90_ms}
        if batch > 1:
            many = found[batch]
            times[str(subnet)] |= {"batch_ms": many.median_ms, "batch_p90_ms": many.p90_ms}
        if work and work.due():
            work.save(times=times)
    return times, about_latency(backend, batch)


def _metadata(
    cfg: CfgNode, context: Context, path: str, data: VideoDataset, evaluation: Evaluation
) -> dict[str, Any]:
    return {
        "model": cfg.MODEL.MODEL_NAME,
        "mode": cfg.MUTUAL.MODE,
        **({"subnet": cfg.MUTUAL.SUBNET} if cfg.MUTUAL.SUBNET else {}),
        **({"multi_label": True} if cfg.DATA.MULTI_LABEL else {}),
        **({"segments": True} if data.segments else {}),
        "dataset": os.path.basename(os.path.abspath(cfg.DATA.PATH_TO_DATA_DIR)),
        "videos": evaluation.videos,
        "expected": evaluation.expected,
        "manifest": manifest(data.videos),
        "views": f"{cfg.TEST.NUM_ENSEMBLE_VIEWS}x{cfg.TEST.NUM_SPATIAL_CROPS}",
        "macs": MACS_CONVENTION,
        "data": feeding(cfg),
        "checkpoint": os.path.relpath(path, cfg.OUTPUT_DIR),
        "fingerprint": fingerprint(path),
        "statistics": STATISTICS_NAME,
        "classes": data.classes,
        "num_classes": cfg.MODEL.NUM_CLASSES,
        "device": str(context.device),
        "torch": torch.__version__,
    }


def _about_results(cfg: CfgNode, about: dict[str, Any], origin: str) -> dict[str, Any]:
    """What ``results.json`` says beside the results: how they came about."""
    same = ("model", "mode", "dataset", "manifest", "checkpoint", "fingerprint", "device")
    return {
        **{key: about[key] for key in same},
        "source": cfg.TEST.DATASET,
        "list": os.path.basename(origin),
        "num_classes": cfg.MODEL.NUM_CLASSES,
        "views": {"clips": cfg.TEST.NUM_ENSEMBLE_VIEWS, "crops": cfg.TEST.NUM_SPATIAL_CROPS},
        "backend": cfg.DATA.DECODING_BACKEND,
        "versions": library_versions(cfg.DATA.DECODING_BACKEND),
    }


def _log_results(table: QueryTable, evaluation: Evaluation) -> None:
    for row in table:
        log_json_stats(
            {
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
                **({} if row.mean_ap is None else {"map": row.mean_ap}),
                **({} if row.mean_class is None else {"mean_class_acc": row.mean_class}),
                "macs": row.macs,
                "macs_per_video": row.macs_per_video,
            }
        )
