"""Evaluating a grid of sub-networks: what it takes beside decoding once and the forward passes."""

import itertools
import tempfile
import time

import torch
from tqdm import tqdm

from mutualvideo.config import load_cfg
from mutualvideo.data.augment import plain_input
from mutualvideo.data.loader import build_loader
from mutualvideo.data.prepare.toy import make_toy_dataset
from mutualvideo.evaluation.evaluate import calibrate_from, evaluate
from mutualvideo.models import build_model
from mutualvideo.run.distributed import Context
from mutualvideo.slim import place, set_subnet, subnet_input
from mutualvideo.subnet import Subnet

WIDTHS, FRAMES, SIZES = (1.0, 0.75, 0.5), (8, 4), (112, 96)


def grid(videos=4, clips=1, crops=3, turns=9):
    """Wall time of evaluating 12 sub-networks of a small X3D, against its indispensable parts.

    These are one pass over the loader, and each sub-network's forward passes on the same
    batches with its inputs made beforehand. The same sub-networks evaluated one by one come
    beside it. Every part is measured once a turn, and its shortest time counts: parts of seconds
    have no quiet median on a machine that others use too. The network is that of
    ``configs/Clips`` at 8x112: with a larger one the forward passes alone would decide.

    Args:
        videos: of the toy data set, 60 frames of 128x128 pixels.
        clips, crops: views of each.
        turns: repetitions.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        make_toy_dataset(folder, train=8, val=videos, seed=0, progress=False)
        for workers in (0, 2):
            name = f"grid of {len(WIDTHS) * len(FRAMES) * len(SIZES)} / parts, {workers} workers"
            cfg = _configuration(folder, workers, clips, crops)
            found[name] = _measure(cfg, Context(device), turns, name)
    return found


def _configuration(folder, workers, clips, crops):
    keys = {
        "DATA.PATH_TO_DATA_DIR": folder,
        "MODEL.NUM_CLASSES": 8,
        "X3D.WIDTH_FACTOR": 2.0,
        "X3D.DEPTH_FACTOR": 1.0,
        "X3D.DIM_C5": 512,
        "DATA.NUM_FRAMES": max(FRAMES),
        "DATA.SAMPLING_RATE": 6,
        "DATA.TRAIN_JITTER_SCALES": [112, 128],
        "DATA.TRAIN_CROP_SIZE": max(SIZES),
        "DATA.TEST_CROP_SIZE": max(SIZES),
        "DATA_LOADER.NUM_WORKERS": workers,
        "TRAIN.BATCH_SIZE": 8,
        "TEST.BATCH_SIZE": 4,
        "TEST.NUM_ENSEMBLE_VIEWS": clips,
        "TEST.NUM_SPATIAL_CROPS": crops,
        "MUTUAL.WIDTH_RANGE": [min(WIDTHS), 1.0],
        "TABLE.CALIBRATION_BATCHES": 1,
    }
    return load_cfg(None, [text for key, value in keys.items() for text in (key, str(value))])


def _measure(cfg, context, turns, name):
    subnets = [Subnet(*shape) for shape in itertools.product(WIDTHS, FRAMES, SIZES)]
    model = place(build_model(cfg), context.device).eval()
    calibrate_from(build_loader(cfg, "calibration"), model, subnets, cfg, context)
    loader = build_loader(cfg, "test")

    def one_by_one():
        for subnet in subnets:
            evaluate(model, [subnet], loader, cfg, context)

    parts = {
        "ours": lambda: evaluate(model, subnets, loader, cfg, context),
        "decode": lambda: list(loader),
        "one_by_one": one_by_one,
    }
    times = {part: [] for part in (*parts, "forward")}
    batches = list(loader)  # also starts the workers
    for _ in tqdm(range(turns), name, disable=None, leave=False):
        for part, run in parts.items():
            start = time.perf_counter()
            run()
            _wait(context.device)
            times[part].append(time.perf_counter() - start)
        forward = (_forward(model, subnet, batches, cfg, context.device) for subnet in subnets)
        times["forward"].append(sum(forward))
    best = {part: 1000 * min(values) for part, values in times.items()}
    theirs = best["decode"] + best["forward"]
    return {
        "ratio": round(best["ours"] / theirs, 4),
        "ours_ms": round(best["ours"], 1),
        "theirs_ms": round(theirs, 1),
        **{f"{part}_ms": round(best[part], 1) for part in ("decode", "forward", "one_by_one")},
    }


@torch.inference_mode()
def _forward(model, subnet, batches, cfg, device):
    """Seconds in which ``model`` as ``subnet`` answers ``batches``, whose input is made before."""
    set_subnet(model, subnet)
    seconds = 0.0
    for batch in batches:
        x = subnet_input(model, plain_input(batch, cfg, device), subnet)
        _wait(device)
        start = time.perf_counter()
        model(x)
        _wait(device)
        seconds += time.perf_counter() - start
    return seconds


def _wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)
