"""On a GPU: training steps, latency over the grid, and depthwise convolutions against memory.

Without a GPU everything runs at a tiny size, to show that it runs: the times then say nothing.
"""

import datetime
import itertools
import time
from functools import partial

import torch
import torchvision

from mutualvideo.backends import make_backend
from mutualvideo.backends.common.latency import measure_rows
from mutualvideo.benchmark.gpu_depthwise import depthwise
from mutualvideo.benchmark.gpu_setup import ON_GPU, TINY, configuration, forget
from mutualvideo.benchmark.gpu_training import compiled_steps, eager_steps, multigrid
from mutualvideo.benchmark.remarks import remark
from mutualvideo.errors import InputError
from mutualvideo.models import build_model, full_subnet
from mutualvideo.slim import calibrate, place
from mutualvideo.subnet import Subnet

_STEP = "X3D-M ours single bf16"
_DEPTHWISE = "X3D-M depthwise convolutions of a step"


def measure(minutes=None):
    """Everything, on the GPU if there is one; prints what the figures depend on, then each.

    Args:
        minutes: nothing more is begun after so many; what is left out is named. ``torch.compile``
            comes last, for it takes longest. ``None``: everything.

    Returns:
        ``{name: {...}}``: of training steps ``ms``, ``clips_per_s`` and ``peak_mib`` (on a GPU);
        of the grid ``median_ms`` and ``p90_ms``; of each depthwise layer and direction ``ms``,
        ``floor_ms`` (its tensors read or written once, at the bandwidth of a copy) and ``ratio``;
        and the share of depthwise convolutions in X3D-M's step. What the card has no room for, or
        the compiler fails at, is named and left out.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    remark(about(device))
    size = ON_GPU if device.type == "cuda" else TINY
    # Whoever sees a figure without the line above shall see it too.
    prefix = "" if device.type == "cuda" else "tiny, CPU: "
    begin, found, left_out = time.monotonic(), {}, []
    for name, run in _all(device, size):
        if minutes is not None and time.monotonic() - begin > 60 * minutes:
            left_out.append(name)
            continue
        try:
            values = run()
        except (RuntimeError, InputError) as error:  # no memory, or a graph that does not compile
            text = str(error).strip() or type(error).__name__
            remark(f"{prefix}{name}: failed, {text.splitlines()[0]}")
            continue
        finally:
            forget(device)
        found |= _said(values, prefix)
    found |= _said(_share(found), prefix)
    if left_out:
        remark(f"left out after {minutes:g} minutes: {'; '.join(left_out)}")
    return {f"{prefix}{name}": values for name, values in found.items()}


def _said(values, prefix):
    """Prints figures as they come in, and returns them, rounded."""
    rounded = {
        name: {key: _rounded(value) for key, value in figures.items()}
        for name, figures in values.items()
    }
    for name, figures in rounded.items():
        remark(f"{prefix}{name}: " + ", ".join(f"{key} {v:g}" for key, v in figures.items()))
    return rounded


def about(device):
    """What the figures depend on, in a line; without a GPU that they are none."""
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    day = datetime.date.today().isoformat()
    if device.type == "cpu":
        return (
            f"{day}, {versions}: no GPU. Everything runs at a tiny size on the CPU, to show that "
            "it runs: these are NO figures of a GPU, nor of the networks that are named"
        )
    card = torch.cuda.get_device_properties(device)
    return (
        f"{day}, {card.name}, {card.total_memory / 2**30:.0f} GiB, {versions}, CUDA "
        f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, TF32 in convolutions of "
        f"fp32: {torch.backends.cudnn.allow_tf32}"
    )


def _all(device, size):
    """(name, what measures it) of everything, the most telling first."""
    yield from eager_steps(device, size)
    yield "depthwise convolutions", partial(depthwise, device, size)
    for backend in ("torch-cudagraph", "torch") if device.type == "cuda" else ("torch",):
        yield f"latency of {backend}", partial(_latency, backend, device, size)
    yield "X3D-M multigrid", partial(multigrid, device, size)
    yield from compiled_steps(device, size)


def _latency(name, device, size):
    """One clip through X3D-M at every point of the grid."""
    cfg = configuration("X3D-M", size)
    model = place(build_model(cfg), device).eval()
    subnets = [Subnet(*shape) for shape in itertools.product(*size.grid)]
    full = full_subnet(cfg)
    # Of noise: statistics change no times, but without any nothing answers.
    calibrate(model, subnets, [torch.randn(2, 3, full.frames, full.size, full.size, device=device)])
    rows = measure_rows(make_backend(name, model, str(device)), subnets, seconds=size.seconds / 2)
    return {
        f"X3D-M clip {subnet} {name}": {"median_ms": times[1].median_ms, "p90_ms": times[1].p90_ms}
        for subnet, times in rows
    }


def _share(found):
    """What depthwise convolutions take of X3D-M's step, if both were measured."""
    layers = [values for values in found.values() if "layers" in values]
    if not layers or _STEP not in found:
        return {}
    ms, floor = (sum(one[key] * one["layers"] for one in layers) for key in ("ms", "floor_ms"))
    share = ms / found[_STEP]["ms"]
    return {_DEPTHWISE: {"ms": ms, "floor_ms": floor, "ratio": ms / floor, "share_of_step": share}}


def _rounded(value):
    return value if isinstance(value, int) else float(f"{value:.4g}")
