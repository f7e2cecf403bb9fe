"""PyTorchVideo: a state dict (``.pth``) and a module (``.py``) that builds the network for it.

``create_x3d`` and its like derive all widths from one factor, so no factor gives a narrow
network's. But the functions that they call for stem, stages and head take widths one by one:
the module that is written is those calls, and needs torch and PyTorchVideo alone. The ``.pth``
is ``{"model_state": ..., "mutualvideo": metadata}``, names as upstream's.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch

from mutualvideo.errors import InputError
from mutualvideo.export.origin import KEY, Origin
from mutualvideo.export.parity import Logits
from mutualvideo.export.pytorchvideo_calls import module_text
from mutualvideo.subnet import Subnet

ENDINGS = (".pth", ".py")
PACKAGES = ("pytorchvideo",)


def write(source: Origin, subnet: Subnet, path: Path) -> None:
    """Writes state dict and module; see ``formats``.

    Raises:
        InputError: if PyTorchVideo has no functions that build this network.
    """
    # As it was trained, with its BatchNorm: it may be trained further in PyTorchVideo.
    network = source.network(subnet, fold=False)
    about = source.describe(subnet, PACKAGES)
    text = module_text(source.cfg, network, subnet, source.shape(subnet), path.name, about)
    path.with_suffix(".py").write_text(text, encoding="utf-8")
    torch.save({"model_state": network.state_dict(), KEY: about}, path)


def load(source: Origin, subnet: Subnet, path: Path) -> Logits:
    """What the written module itself builds from the written weights."""
    spec = importlib.util.spec_from_file_location("exported", path.with_suffix(".py"))
    assert spec is not None and spec.loader is not None  # its name ends in .py
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        network = module.build(path)
    except RuntimeError as error:
        # Where full widths differ and narrow ones do not, upstream leaves out a BatchNorm.
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"sub-network {subnet}: PyTorchVideo's functions build another network of these "
            f"widths ({reason}); export another width, or another format"
        ) from error

    @torch.inference_mode()
    def logits(clips: np.ndarray) -> np.ndarray:
        return network(module.inputs(torch.from_numpy(clips))).numpy()

    return logits
