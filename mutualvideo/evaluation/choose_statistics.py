"""Which BatchNorm statistics the rows of a table run on: TABLE.STATISTICS."""

import logging
from collections.abc import Sequence

from fvcore.common.config import CfgNode
from torch import nn

from mutualvideo.data.augment import plain_input
from mutualvideo.data.loader import build_loader
from mutualvideo.errors import InputError
from mutualvideo.evaluation.evaluate import calibrate_from, evaluate
from mutualvideo.run.distributed import Context
from mutualvideo.slim import get_statistics, load_statistics, own_statistics
from mutualvideo.subnet import Subnet

logger = logging.getLogger(__name__)

CHOICES = ("calibrated", "own", "best")


def choose_statistics(
    model: nn.Module, subnets: Sequence[Subnet], cfg: CfgNode, context: Context
) -> dict[str, str]:
    """Gives every sub-network the statistics that TABLE.STATISTICS asks for.

    Args:
        model: a slimmable network, which has them afterwards.
        subnets: the sub-networks of the table.
        cfg: the configuration. ``best`` reads the val list, one view of each video, twice.
        context: this process; all take part.

    Returns:
        ``{subnet as text: "calibrated" or "own"}``; of ``best`` the one whose top-1 (mAP of
        several labels) on the val list is higher, among equals ``calibrated``.

    Raises:
        InputError: for another TABLE.STATISTICS, or as calibration and evaluation do.
    """
    kind = cfg.TABLE.STATISTICS
    require_choice(kind)
    shards = (context.rank, context.world_size)
    calibration = build_loader(cfg, "calibration", *shards)
    found: dict[str, dict] = {}
    top1: dict[str, dict[str, float]] = {}
    for name in ("calibrated", "own") if kind == "best" else (kind,):
        if name == "calibrated":
            calibrate_from(calibration, model, subnets, cfg, context)
        else:
            batch = next(iter(calibration))
            own_statistics(model, subnets, plain_input(batch, cfg, context.device))
        if kind != "best":
            return dict.fromkeys(map(str, subnets), name)
        found[name] = get_statistics(model)
        accuracies = evaluate(model, subnets, build_loader(cfg, "val", *shards), cfg, context)
        top1[name] = {str(key): accuracies.merit(key) for key in accuracies.accuracies}
    chosen = {
        key: "own" if top1["own"][key] > top1["calibrated"][key] else "calibrated"
        for key in map(str, subnets)
    }
    for key in chosen:
        one, other = (f"{name} {top1[name][key]:.2f} %" for name in ("calibrated", "own"))
        what = "mAP" if cfg.DATA.MULTI_LABEL else "top-1"
        logger.info("statistics of %s, %s on the val list: %s, %s", key, what, one, other)
    parts = {key: found[name]["subnets"][key] for key, name in chosen.items()}
    load_statistics(model, {**found["own"], "subnets": parts})
    logger.info(
        "statistics, chosen on the val list: of %d of %d sub-networks the full network's own",
        sum(name == "own" for name in chosen.values()),
        len(chosen),
    )
    return chosen


def require_choice(kind: str) -> None:
    """Raises ``InputError`` for a TABLE.STATISTICS that there is not."""
    if kind not in CHOICES:
        raise InputError(f"TABLE.STATISTICS {kind!r} is unknown; choose from: {', '.join(CHOICES)}")
