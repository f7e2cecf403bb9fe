"""Answering: the backends against PyTorchVideo's eager network, small sub-networks against full."""

import numpy as np
import torch
from pytorchvideo.models.x3d import create_x3d

from mutualvideo.backends import make_backend
from mutualvideo.benchmark.remarks import remark
from mutualvideo.benchmark.side_by_side import side_by_side
from mutualvideo.config import load_cfg
from mutualvideo.errors import InputError
from mutualvideo.models import build_model
from mutualvideo.slim import calibrate
from mutualvideo.subnet import Subnet

_X3D_M = ["X3D.WIDTH_FACTOR", "2.0", "X3D.DEPTH_FACTOR", "2.2", "X3D.BOTTLENECK_FACTOR", "2.25"]
_BACKENDS = ("torch", "torch-extracted", "openvino", "onnxruntime")
_FULL, _SMALL = Subnet(1, 16, 224), Subnet(0.63, 4, 112)


def latency(repeats=10):
    """X3D-M, one clip, on the CPU: every backend that is installed.

    Full width at 16x224 against PyTorchVideo's network in eager mode, and 0.63x4x112 against
    the same backend's full network.
    """
    theirs = create_x3d(
        input_clip_length=16, input_crop_size=224, depth_factor=2.2, head_activation=None
    )
    theirs.eval()
    clip = torch.randn(1, 3, 16, 224, 224)
    cfg = load_cfg(None, [*_X3D_M, "DATA.NUM_FRAMES", "16", "DATA.TRAIN_CROP_SIZE", "224"])
    model = build_model(cfg).eval()
    calibrate(model, [_SMALL], [clip])
    small = np.random.default_rng(0).standard_normal((1, 3, 4, 112, 112), np.float32)

    @torch.inference_mode()
    def eager():
        theirs(clip)

    found = {}
    for name in _BACKENDS:
        try:
            backend = make_backend(name, model, "cpu")
        except InputError as error:
            remark(f"left out: {error}")
            continue
        whole, part = backend.prepare(_FULL), backend.prepare(_SMALL)
        x = clip.numpy()
        label = f"{name} {_FULL} / PyTorchVideo eager"
        found[label] = side_by_side(lambda f=whole, x=x: f(x), eager, repeats, label)
        label = f"{name} {_SMALL} / {name} {_FULL}"
        found[label] = side_by_side(
            lambda f=part: f(small), lambda f=whole, x=x: f(x), repeats, label
        )
    return found
