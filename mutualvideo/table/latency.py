"""How long a sub-network takes on this machine."""

import statistics
import time
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one call with ``batch`` clips: median, and what 90 % of calls stay below."""

    median_ms: float
    p90_ms: float
    batch: int


def measure(runner, batch=1, seconds=0.5, least=5, warmup=2):
    """How long a :class:`~mutualvideo.runtime.backends.Runner` takes.

    Args:
        runner: a prepared sub-network.
        batch: clips a call.
        seconds: measures for about this long ...
        least: ... but at least this many times, after ``warmup`` runs that do not count.

    Returns:
        :class:`Latency`.
    """
    shape = runner.blank(batch).shape
    clips = np.random.default_rng(0).standard_normal(shape, np.float32)
    times = _times(lambda: runner(clips), seconds, least, warmup)
    return Latency(1000 * statistics.median(times), 1000 * float(np.quantile(times, 0.9)), batch)


def _times(call, seconds, least, warmup):
    """Seconds that each of a number of calls took."""
    times = []
    for run in range(10_000):
        start = time.perf_counter()
        call()
        if run >= warmup:
            times.append(time.perf_counter() - start)
        if len(times) >= least and sum(times) >= seconds:
            break
    return times


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
    # A machine that runs exported sub-networks measures them without torch.
    import torch

    from mutualvideo.slim import channels_last, input_shape, set_subnet

    device = next(model.parameters()).device
    set_subnet(model, subnet)
    frames, size = input_shape(model, subnet)
    shape = (size, size) if frames is None else (frames, size, size)
    clip = channels_last(torch.randn(1, 3, *shape, device=device))

    def call():
        model(clip)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    with torch.inference_mode():
        return 1000 * statistics.median(_times(call, seconds, least, warmup))
