"""What is exported: a trained network, its table and what a user of the file must know."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import nn

from mutualvideo import __version__
from mutualvideo.backends.common.base import Shape
from mutualvideo.errors import CALIBRATE_BY_TOOLS, InputError
from mutualvideo.files import StrPath
from mutualvideo.runtime.deployed import is_folder, locate
from mutualvideo.runtime.from_checkpoint import open_network
from mutualvideo.runtime.manifest import INPUT, OUTPUT, data_section
from mutualvideo.slim import (
    channels_last,
    extract,
    input_shape,
    require_calibrated,
    set_subnet,
    weights_layout,
)
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable, Row

KEY = "mutualvideo"


@dataclass(frozen=True)
class Origin:
    """A slimmable network in eval mode on the CPU, with calibrated statistics.

    Args:
        model: the network.
        cfg: its configuration.
        table: its ``QueryTable``.
    """

    model: torch.nn.Module
    cfg: Any
    table: QueryTable

    def row(self, subnet: Subnet) -> Row:
        """The ``Row`` of ``subnet``.

        Raises:
            InputError: if the table has none, or it was never calibrated.
        """
        row = self.table[subnet]
        require_calibrated(self.model, subnet, "export", CALIBRATE_BY_TOOLS)
        return row

    def shape(self, subnet: Subnet) -> Shape:
        """(frames, size) of the clip that ``subnet`` takes; frames ``None``: of pictures."""
        return input_shape(self.model, subnet)

    def network(self, subnet: Subnet, fold: bool = True) -> nn.Module:
        """``subnet`` as a plain network without gradients, BatchNorm folded if ``fold``."""
        network = extract(self.model, subnet, fold=fold).requires_grad_(False)
        return network.to(memory_format=weights_layout(network))

    @torch.inference_mode()
    def logits(self, subnet: Subnet, clips: np.ndarray) -> np.ndarray:
        """What the slimmable network itself gives as ``subnet``.

        Args:
            clips: float32 array (B, 3, frames, size, size), or of pictures (B, 3, size, size),
                as ``subnet`` takes it.

        Returns:
            float32 array (B, classes).
        """
        set_subnet(self.model, subnet)
        return self.model(channels_last(torch.from_numpy(clips))).numpy()

    def describe(self, subnet: Subnet, packages: Iterable[str] = ()) -> dict[str, Any]:
        """What goes into every file, as JSON values.

        Args:
            subnet: which sub-network.
            packages: names of those that wrote the file, in addition to torch.
        """
        row, (frames, size) = self.row(subnet), self.shape(subnet)
        return {
            "model": self.cfg.MODEL.MODEL_NAME,
            "subnet": str(subnet),
            "frames": frames,
            "size": size,
            "mean": list(self.cfg.DATA.MEAN),
            "std": list(self.cfg.DATA.STD),
            "classes": self.classes,
            "data": data_section(self.cfg),
            "macs": row.macs,
            "params": row.params,
            "top1": row.top1,
            **({} if row.mean_ap is None else {"mean_ap": row.mean_ap}),
            "checkpoint": self.table.metadata.get("fingerprint"),
            "input": INPUT,
            "output": OUTPUT,
            "versions": package_versions(packages),
        }

    @property
    def classes(self) -> list[str] | None:
        """Names of the classes in their order, or ``None``; InputError if they do not fit."""
        names, count = self.table.metadata.get("classes"), self.cfg.MODEL.NUM_CLASSES
        if names is not None and (not isinstance(names, list) or len(names) != count):
            raise InputError(f"query table: classes must be a list of {count} names")
        return names


def open_origin(
    run: StrPath | None = None,
    checkpoint: StrPath | None = None,
    table: QueryTable | StrPath | None = None,
) -> Origin:
    """Opens what is exported.

    Args:
        run: OUTPUT_DIR of a run; or
        checkpoint, table: paths of both; each takes precedence over what lies in ``run``.

    Returns:
        :class:`Origin`.

    Raises:
        InputError: if a file cannot be read, or table and checkpoint do not belong together.
    """
    checkpoint, table = locate(run, checkpoint, table)
    if is_folder(checkpoint):
        raise InputError(f"{checkpoint}: holds exported sub-networks already: name a run")
    assert isinstance(table, QueryTable)  # of a checkpoint locate() gives the table itself
    backend, cfg = open_network(checkpoint, table, device="cpu")
    return Origin(backend.model, cfg, table)


def package_versions(packages: Iterable[str] = ()) -> dict[str, str | None]:
    """``{package: version}`` of mutualvideo, torch and ``packages``."""
    found: dict[str, str | None] = {KEY: __version__, "torch": str(torch.__version__)}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def as_text(description: dict[str, Any]) -> str:
    """A description as JSON text."""
    return json.dumps(description, indent=1)
