"""Serving: clips of several threads answered in batches against one by one."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from mutualvideo.benchmark.remarks import remark
from mutualvideo.benchmark.side_by_side import side_by_side
from mutualvideo.config import load_cfg
from mutualvideo.errors import InputError
from mutualvideo.models import build_model
from mutualvideo.runtime import AdaptiveRecognizer
from mutualvideo.serving.service import Service
from mutualvideo.slim import calibrate, count_macs
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable, Row

_X3D_M = ["X3D.WIDTH_FACTOR", "2.0", "X3D.DEPTH_FACTOR", "2.2", "X3D.BOTTLENECK_FACTOR", "2.25"]
_BACKENDS = ("torch", "torch-extracted", "openvino")
_SUBNETS = (Subnet(0.63, 4, 112), Subnet(0.63, 8, 160))


def throughput(repeats=10, threads=8, clips=32):
    """X3D-M on the CPU: ``clips`` clips of ``threads`` threads, each asking for one at a time.

    A service (batches of 1, 2, 4 or 8, what proves worth while) against calls of ``predict``,
    which take turns; 340x256 pixels, cropping included. The milliseconds are those of a clip.
    """
    cfg = load_cfg(None, [*_X3D_M, "DATA.NUM_FRAMES", "16", "DATA.TEST_CROP_SIZE", "224"])
    model = build_model(cfg).eval()
    calibrate(model, _SUBNETS, [torch.randn(1, 3, 16, 224, 224)])
    table = QueryTable([Row(s, count_macs(model, s), 1) for s in _SUBNETS])
    clip = np.random.default_rng(0).integers(0, 256, (16, 256, 340, 3), np.uint8)
    found = {}
    with ThreadPoolExecutor(threads) as pool:
        for backend in _BACKENDS:
            try:
                recognizer = AdaptiveRecognizer(model, table, "cpu", backend, cfg)
            except InputError as error:
                remark(f"left out: {error}")
                continue
            for subnet in _SUBNETS:
                with Service(recognizer) as service:
                    name = f"{backend} {subnet}, {threads} threads: service / predict"
                    found[name] = _one(pool, service, recognizer, subnet, clip, clips, repeats)
    return found


def _one(pool, service, recognizer, subnet, clip, clips, repeats):
    def served(_):
        return service.submit(clip, subnet=subnet).result().scores

    def direct(_):
        return recognizer.predict(clip, subnet=subnet).scores

    def run(function):
        return list(pool.map(function, range(clips)))

    # Until every size was tried.
    for _ in range(3):
        run(served)
    times = side_by_side(lambda: run(served), lambda: run(direct), repeats)
    return {key: value if key == "ratio" else value / clips for key, value in times.items()}
