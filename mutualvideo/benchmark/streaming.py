"""Streams: a prediction for every frame, in continual form against a whole clip every time."""

import numpy as np
import torch

from mutualvideo.backends import make_backend
from mutualvideo.benchmark.side_by_side import side_by_side
from mutualvideo.config import load_cfg
from mutualvideo.errors import InputError
from mutualvideo.models import build_model
from mutualvideo.runtime.continual_form import continual_form
from mutualvideo.slim import calibrate, count_macs
from mutualvideo.subnet import Subnet

_X3D_M = ["X3D.WIDTH_FACTOR", "2.0", "X3D.DEPTH_FACTOR", "2.2", "X3D.BOTTLENECK_FACTOR", "2.25"]
_BACKENDS = ("torch", "torch-extracted", "openvino", "onnxruntime")
_SUBNETS = (Subnet(1, 16, 224), Subnet(0.63, 6, 128))


def streams(repeats=10):
    """X3D-M on the CPU, one stream: milliseconds and multiply-adds of a prediction.

    ``torch``: the slimmable network in place; the others: cut out, BatchNorm folded. Both forms on
    the same backend, from float arrays to scores, preparation of the frames left out. The
    memory is that of a stream's state.
    """
    cfg = load_cfg(None, [*_X3D_M, "DATA.NUM_FRAMES", "16", "DATA.TRAIN_CROP_SIZE", "224"])
    model = build_model(cfg).eval()
    calibrate(model, _SUBNETS[1:], [torch.randn(1, 3, 16, 224, 224)])
    found = {}
    for name in _BACKENDS:
        try:
            backend = make_backend(name, model, "cpu")
        except InputError as error:
            print(f"{name} is left out: {error}")
            continue
        for subnet in _SUBNETS:
            clip_wise = backend.prepare(subnet)
            clip = np.random.default_rng(0).standard_normal(
                (1, 3, subnet.frames, subnet.size, subnet.size), np.float32
            )
            continual = continual_form(backend, backend.model, subnet)
            label = f"{name} continual {subnet} / clip-wise {subnet}"
            found[label] = side_by_side(
                _stepping(continual, clip[:, :, 0]),
                lambda f=clip_wise, x=clip: f(x),
                repeats,
                label,
            )
            macs, whole = continual.macs(), count_macs(model, subnet)
            found[label] |= {
                "macs_ratio": round(macs / whole, 4),
                "ours_macs": macs,
                "theirs_macs": whole,
                "state_mib": round(continual.nbytes() / 2**20, 2),
            }
    return found


def _stepping(continual, frame):
    """A function that takes the next frame of a stream that has run for a while."""
    with torch.inference_mode():
        state = continual.start()
        state["count"] += continual.memory
    kept = [state]

    def step():
        with torch.inference_mode():
            logits, kept[0] = continual.step(torch.from_numpy(frame), kept[0])
            return logits.softmax(1).numpy()

    return step
