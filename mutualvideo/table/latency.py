"""How long a sub-network takes on this machine."""

import statistics
import time

import torch

from mutualvideo.slim import input_shape, set_subnet


@torch.inference_mode()
def measure_latency(model, subnet, seconds=0.5, least=5, warmup=2):
    """Median time of one clip through ``model`` as ``subnet``.

    Args:
        model: a slimmable network in eval mode, on the device to measure.
        subnet: which sub-network.
        seconds: measures for about this long ...
        least: ... but at least this many times, after ``warmup`` runs that do not count.

    Returns:
        float, milliseconds.
    """
    device = next(model.parameters()).device
    set_subnet(model, subnet)
    frames, size = input_shape(model, subnet)
    clip = torch.randn(1, 3, frames, size, size, device=device)
    clip = clip.contiguous(memory_format=torch.channels_last_3d)
    times = []
    for run in range(10_000):
        _wait(device)
        start = time.perf_counter()
        model(clip)
        _wait(device)
        if run >= warmup:
            times.append(time.perf_counter() - start)
        if len(times) >= least and sum(times) >= seconds:
            break
    return 1000 * statistics.median(times)


def _wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)
