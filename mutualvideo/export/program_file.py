"""``torch.export`` programs, ``.pt2``: for Python, C++ (AOTInductor), ExecuTorch.

The metadata is the extra file ``mutualvideo.json``.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from mutualvideo.backends.common.to_runtime import to_program
from mutualvideo.backends.torch_exported import TorchExportedRunner
from mutualvideo.export.origin import KEY, Origin, as_text
from mutualvideo.export.parity import Logits
from mutualvideo.subnet import Subnet

ENDINGS = (".pt2",)
PACKAGES = ()


def write(source: Origin, subnet: Subnet, path: Path) -> None:
    """Writes a program of one input, ``clip``, whose batch is free; see ``formats``."""
    program = to_program(source.network(subnet), source.shape(subnet))
    about = as_text(source.describe(subnet, PACKAGES))
    with warnings.catch_warnings():
        # Of weights with the channels last in memory; they are saved whole nevertheless.
        warnings.filterwarnings("ignore", "No complete tensor", UserWarning)
        torch.export.save(program, path, extra_files={f"{KEY}.json": about})


def load(source: Origin, subnet: Subnet, path: Path) -> Logits:
    return TorchExportedRunner(subnet, source.shape(subnet), path, torch.device("cpu")).logits
