"""How long the sub-networks of a detector take on this machine."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from mutualvideo.backends.common.latency import about_processor, latency_of, measure_in_turns
from mutualvideo.slim import set_subnet
from mutualvideo.slim.statistics.calibrate import as_before
from mutualvideo.subnet import Subnet


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

    def ready(subnet: Subnet) -> Callable[[], object]:
        set_subnet(model, subnet)
        return partial(_answer, model, pixels)

    with as_before(model):
        model.eval()
        times = measure_in_turns({subnet: partial(ready, subnet) for subnet in subnets}, seconds)
    found = {subnet: latency_of(of_one, 1) for subnet, of_one in times.items()}
    return {
        subnet: {"latency_ms": one.median_ms, "latency_p90_ms": one.p90_ms}
        for subnet, one in found.items()
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
        **about_processor(),
    }
