"""On a GPU: training steps, latency over the grid, and depthwise convolutions against memory.

Without a GPU everything runs at a tiny size, to show that it runs: the times then say nothing.
"""

import datetime
import gc
import itertools
import math
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torchvision
from pytorchvideo.models.resnet import create_resnet
from pytorchvideo.models.x3d import create_x3d
from torch import nn
from torch.nn import functional as F
from torch.utils.benchmark import Timer

from mutualvideo.backends import make_backend
from mutualvideo.backends.common.latency import measure_rows
from mutualvideo.benchmark.remarks import remark
from mutualvideo.config import load_cfg
from mutualvideo.engine.optimizer import build_optimizer
from mutualvideo.engine.train import build_sampler
from mutualvideo.models import build_model, full_subnet
from mutualvideo.mutual import Passes, compile_training, mutual_step
from mutualvideo.slim import calibrate, set_subnet, subnet_input
from mutualvideo.subnet import Subnet

_LAST, _BF16 = torch.channels_last_3d, torch.bfloat16


@dataclass(frozen=True)
class Size:
    """How large everything is.

    Args:
        x3d, slow: (frames, size, clips a training step).
        depth: X3D's DEPTH_FACTOR.
        grid: widths, frames and sizes of X3D whose latency is measured.
        seconds: that a measurement takes, about.
        copied: bytes that the bandwidth of memory is measured with.
        compiler: backend of ``torch.compile``.
    """

    x3d: tuple
    slow: tuple
    depth: float
    grid: tuple
    seconds: float
    copied: int
    compiler: str


_ON_GPU = Size(
    (16, 224, 16),
    (8, 224, 8),
    2.2,
    ((1.0, 0.8, 0.63), (16, 10, 6), (224, 160, 128)),
    2.0,
    1 << 30,
    "inductor",
)
_TINY = Size(
    (4, 32, 2),
    (4, 32, 2),
    0.4,
    ((1.0, 0.63), (4,), (32,)),
    0.0,
    1 << 20,
    "eager",
)


def measure():
    """Everything, on the GPU if there is one; prints what the figures depend on.

    Returns:
        ``{name: {...}}``: of training steps ``ms``, ``clips_per_s`` and ``peak_mib`` (on a GPU);
        of the grid ``median_ms`` and ``p90_ms``; of each depthwise layer and direction ``ms``,
        ``floor_ms`` (its tensors read or written once, at the bandwidth of a copy) and ``ratio``;
        and the share of depthwise convolutions in X3D's step.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    remark(about(device))
    size = _ON_GPU if device.type == "cuda" else _TINY
    found = training(device, size)
    found |= latency(device, size)
    layers = depthwise(device, size)
    found |= layers
    step = found["X3D-M ours single bf16 channels_last_3d"]["ms"]
    total = sum(values["ms"] * values["layers"] for values in layers.values() if "layers" in values)
    floor = sum(v["floor_ms"] * v["layers"] for v in layers.values() if "layers" in v)
    found["X3D-M depthwise convolutions of a step"] = {
        "ms": total,
        "floor_ms": floor,
        "ratio": total / floor,
        "share_of_step": total / step,
    }
    # Whoever sees a figure without the line above shall see it too.
    prefix = "" if device.type == "cuda" else "tiny, CPU: "
    return {
        f"{prefix}{name}": {key: _rounded(value) for key, value in values.items()}
        for name, values in found.items()
    }


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


# Training steps


def training(device, size):
    """Steps of X3D-M and Slow 8x8: PyTorchVideo's, and ours."""
    found = {}
    for name, (frames, pixels, batch) in (("X3D-M", size.x3d), ("Slow 8x8", size.slow)):
        clips = torch.randn(batch, 3, frames, pixels, pixels, device=device)
        labels = torch.arange(batch, device=device)
        steps = {}
        for precision in (None, _BF16):
            text = "bf16" if precision else "fp32"
            steps[f"PyTorchVideo {text} default layout"] = _theirs(name, size, precision)
        for mode, compiler in itertools.product(("single", "mutual"), (None, size.compiler)):
            text = f"ours {mode} bf16 channels_last_3d{' compiled' if compiler else ''}"
            steps[text] = _ours(name, size, mode, compiler)
        for text, make in steps.items():
            _forget(device)
            found[f"{name} {text}"] = _measure_step(make, clips, labels, size.seconds)
    _forget(device)
    return found


def _theirs(name, size, precision):
    def make(device):
        model = _upstream(name, size).to(device).train()
        optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9, nesterov=True)

        def step(clips, labels):
            optimizer.zero_grad(set_to_none=True)
            with _autocast(device, precision):
                loss = F.cross_entropy(model(clips), labels)
            loss.backward()
            optimizer.step()

        return step, torch.contiguous_format

    return make


def _ours(name, size, mode, compiler):
    def make(device):
        cfg = _configuration(name, size, mode)
        model = build_model(cfg).to(device, memory_format=_LAST).train()
        optimizer = build_optimizer(model, cfg)
        # The same sub-networks in every step: each width is a graph of its own.
        subnets = build_sampler(cfg).draw(0)
        if compiler:
            compile_training(model, subnets, len(subnets), compiler)

        def step(clips, labels):
            optimizer.zero_grad(set_to_none=True)
            mutual_step(model, clips, labels, subnets, passes=Passes(precision=_BF16))
            optimizer.step()

        return step, _LAST

    return make


def _measure_step(make, clips, labels, seconds):
    device = clips.device
    step, layout = make(device)
    clips = clips.contiguous(memory_format=layout)
    ms = _milliseconds(lambda: step(clips, labels), seconds)
    found = {"ms": ms, "clips_per_s": 1000 * len(clips) / ms}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        step(clips, labels)
        found["peak_mib"] = torch.cuda.max_memory_allocated(device) / 2**20
    return found


def _configuration(name, size, mode="mutual"):
    frames, pixels, _ = size.x3d if name == "X3D-M" else size.slow
    keys = {"DATA.NUM_FRAMES": frames, "DATA.TRAIN_CROP_SIZE": pixels, "MUTUAL.MODE": mode}
    if pixels < 128:
        keys |= {"MUTUAL.SIZES": [pixels], "MUTUAL.FRAMES": [frames, frames // 2]}
    if name == "X3D-M":
        keys |= {"X3D.WIDTH_FACTOR": 2.0, "X3D.DEPTH_FACTOR": size.depth}
    else:
        keys |= {"MODEL.MODEL_NAME": "ResNet", "MODEL.ARCH": "slow"}
    return load_cfg(None, [text for key, value in keys.items() for text in (key, str(value))])


def _upstream(name, size):
    """PyTorchVideo's network of the same shape; gives logits."""
    if name == "X3D-M":
        frames, pixels, _ = size.x3d
        return create_x3d(
            input_clip_length=frames,
            input_crop_size=pixels,
            depth_factor=size.depth,
            head_activation=None,
        )
    frames, pixels, _ = size.slow
    pool = (frames, math.ceil(pixels / 32), math.ceil(pixels / 32))
    return create_resnet(stem_conv_kernel_size=(1, 7, 7), head_pool_kernel_size=pool)


# Latency


def latency(device, size):
    """One clip through X3D-M at every point of the grid, sliced and as CUDA graphs."""
    cfg = _configuration("X3D-M", size)
    model = build_model(cfg).to(device, memory_format=_LAST).eval()
    subnets = [Subnet(*shape) for shape in itertools.product(*size.grid)]
    full = full_subnet(cfg)
    # Of noise: statistics change no times, but without any nothing answers.
    calibrate(model, subnets, [torch.randn(2, 3, full.frames, full.size, full.size, device=device)])
    found = {}
    for name in ("torch", "torch-cudagraph") if device.type == "cuda" else ("torch",):
        backend = make_backend(name, model, str(device))
        for subnet, times in measure_rows(backend, subnets, seconds=size.seconds / 4):
            values = {"median_ms": times[1].median_ms, "p90_ms": times[1].p90_ms}
            found[f"X3D-M clip {subnet} {name}"] = values
    _forget(device)
    return found


# Depthwise convolutions


def depthwise(device, size):
    """X3D-M's depthwise 3x3x3 convolutions, bf16, against the bandwidth of memory."""
    bandwidth = _bandwidth(device, size)
    found = {"memory bandwidth of a copy": {"gb_per_s": bandwidth / 1e9}}
    layouts = {"default layout": torch.contiguous_format, "channels_last_3d": _LAST}
    for shape, weight, stride, count in _depthwise_layers(size):
        for text, layout in layouts.items():
            x = torch.randn(shape, device=device, dtype=_BF16).contiguous(memory_format=layout)
            w = torch.randn(weight, device=device, dtype=_BF16)
            padding = tuple(side // 2 for side in weight[2:])
            y, runs = _directions(x, w, stride, padding)
            # Forward x and y; backward x, the gradient of y, and the gradient of x.
            moved = {"forward": x.nbytes + y.nbytes, "backward": 2 * x.nbytes + y.nbytes}
            name = f"depthwise {'x'.join(map(str, shape))} stride {stride[1]} {text}"
            for direction, run in runs.items():
                ms = _milliseconds(run, size.seconds / 8)
                floor = 1000 * moved[direction] / bandwidth
                found[f"{name} {direction}"] = {"ms": ms, "floor_ms": floor, "ratio": ms / floor}
                if layout == _LAST:
                    found[f"{name} {direction}"]["layers"] = count
    return found


def _directions(x, w, stride, padding):
    """(output, ``{direction: what computes it}``)."""
    y = F.conv3d(x, w, None, stride, padding, groups=len(w))
    grad = torch.randn_like(y)

    def forward():
        return F.conv3d(x, w, None, stride, padding, groups=len(w))

    def backward():
        return torch.ops.aten.convolution_backward(
            grad,
            x,
            w,
            None,
            stride,
            padding,
            (1, 1, 1),
            False,
            (0, 0, 0),
            len(w),
            (True, True, False),
        )

    return y, {"forward": forward, "backward": backward}


def _depthwise_layers(size):
    """(shape of the input, of the weight, stride, how often) of X3D's 3x3x3 ones in a step."""
    model = build_model(_configuration("X3D-M", size))
    seen, hooks = {}, []

    def see(layer, inputs, _):
        key = tuple(inputs[0].shape[1:]), tuple(layer.weight.shape), layer.stride
        seen[key] = seen.get(key, 0) + 1

    for layer in model.modules():
        if isinstance(layer, nn.Conv3d) and layer.groups > 1 and layer.kernel_size == (3, 3, 3):
            hooks.append(layer.register_forward_hook(see))
    frames, pixels, batch = size.x3d
    full = full_subnet(_configuration("X3D-M", size))
    set_subnet(model.eval().to("meta"), full)
    model(subnet_input(model, torch.empty(1, 3, frames, pixels, pixels, device="meta"), full))
    for hook in hooks:
        hook.remove()
    return [((batch, *x), w, stride, count) for (x, w, stride), count in seen.items()]


def _bandwidth(device, size):
    """Bytes a second that copying reads and writes."""
    source = torch.empty(size.copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    ms = _milliseconds(lambda: target.copy_(source), size.seconds / 4)
    return 2 * size.copied / (ms / 1000)


# Measuring


def _milliseconds(run, seconds):
    """Median over calls that take about ``seconds``; those that warm up do not count."""
    for _ in range(3 if seconds else 1):
        run()
    timer = Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads())
    return 1000 * timer.blocked_autorange(min_run_time=seconds).median


def _autocast(device, precision):
    return torch.autocast(device.type, precision) if precision else nullcontext()


def _forget(device):
    """Frees what the last measurement held."""
    gc.collect()
    torch.compiler.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _rounded(value):
    return value if isinstance(value, int) else float(f"{value:.4g}")
