"""How long the sub-networks of a detector take on this machine."""

import os
import platform
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from mutualvideo.slim import set_subnet
from mutualvideo.slim.statistics.calibrate import as_before
from mutualvideo.subnet import Subnet

# The time of a row is spread over so many rounds, as with classifiers: if the machine is busy with
# something else for some seconds, all rows are slowed down a little.
_ROUNDS, _WARM_UP = 5, 2


@torch.inference_mode()
def measure_detector(
    model: nn.Module, subnets: Sequence[Subnet], picture: tuple[int, int], seconds: float = 0.5
) -> dict[Subnet, dict[str, Any]]:
    """Milliseconds of one picture, from its pixels to its boxes, in turns.

    The picture is noise, in which few boxes pass the threshold: choosing among many takes longer.

    Args:
        model: a slimmable detector whose ``subnets`` are calibrated; it is left as it was.
        subnets: which sub-networks.
        picture: (height, width) in pixels, before it is brought to the sub-network's size.
        seconds: each for about this long, at least five times.

    Returns:
        ``{subnet: {"latency_ms": median, "latency_p90_ms": what 90 % of calls stay below}}``.
    """
    device = next(model.parameters()).device
    pixels = torch.rand(3, *picture, generator=torch.Generator().manual_seed(0)).to(device)
    times: dict[Subnet, list[float]] = {subnet: [] for subnet in subnets}
    with as_before(model):
        model.eval()
        for _ in range(_ROUNDS):
            for subnet, found in times.items():
                set_subnet(model, subnet)
                for _ in range(_WARM_UP):
                    _answer(model, pixels)
                end = time.perf_counter() + seconds / _ROUNDS
                while True:
                    begin = time.perf_counter()
                    _answer(model, pixels)
                    found.append(1000 * (time.perf_counter() - begin))
                    if time.perf_counter() >= end:
                        break
    return {
        subnet: {
            "latency_ms": statistics.median(found),
            "latency_p90_ms": float(np.quantile(found, 0.9)),
        }
        for subnet, found in times.items()
    }


def _answer(model: nn.Module, pixels: torch.Tensor) -> None:
    (found,) = model([pixels])
    found["boxes"].cpu()  # which waits for the device


def about_detector(device: torch.device, picture: tuple[int, int]) -> dict[str, Any]:
    """What the times depend on, as JSON values."""
    return {
        "backend": "torch",
        "device": str(device),
        "threads": torch.get_num_threads(),
        "picture": list(picture),
        "batch": 1,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
