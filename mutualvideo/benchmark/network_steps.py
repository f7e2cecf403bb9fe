"""Networks: layers, switching, memory, slices and costs."""

import gc
import itertools
import multiprocessing
import statistics
import time

import torch
import torchvision
from pytorchvideo.models.x3d import create_x3d
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from mutualvideo.benchmark.side_by_side import side_by_side
from mutualvideo.config import load_cfg
from mutualvideo.engine.train import build_sampler
from mutualvideo.models import build_model
from mutualvideo.slim import count_costs, extract, set_subnet, slimmable
from mutualvideo.slim.counting.macs import example_input
from mutualvideo.slim.kernels.depthwise import depthwise_conv3d
from mutualvideo.slim.meta_copy import meta_twin
from mutualvideo.subnet import Subnet

X3D_M = ["X3D.WIDTH_FACTOR", "2.0", "X3D.DEPTH_FACTOR", "2.2", "X3D.BOTTLENECK_FACTOR", "2.25"]


def depthwise(repeats=5, batch=4):
    """Forward and backward of X3D-M's depthwise convolutions (16x160), against torch's."""
    shapes = [(54, 80, 2), (54, 40, 1), (108, 40, 2), (108, 20, 1), (216, 10, 1), (432, 5, 1)]
    found = {}
    for channels, size, stride in shapes:
        x = torch.randn(batch, channels, 16, size, size)
        x = x.contiguous(memory_format=torch.channels_last_3d).requires_grad_()
        weight = torch.randn(channels, 1, 3, 3, 3, requires_grad=True)
        strides = (1, stride, stride)

        def run(convolve, x=x, weight=weight, strides=strides):
            y = convolve(x, weight, None, strides, (1, 1, 1))
            torch.autograd.grad(y, [x, weight], torch.ones_like(y))

        def torchs(x, weight, bias, stride, padding):
            return F.conv3d(x, weight, bias, stride, padding, 1, x.shape[1])

        name = f"{channels} channels, {size} px, stride {stride}"
        found[name] = side_by_side(
            lambda run=run: run(depthwise_conv3d), lambda run=run: run(torchs), repeats, name
        )
    return found


def switching(repeats=1000):
    """Time of ``set_subnet`` on X3D-M, against one millisecond."""
    cfg = load_cfg(None, X3D_M)
    model, sampler = build_model(cfg), build_sampler(cfg)
    subnets = [subnet for step in range(repeats) for subnet in sampler.draw(step)]
    times = []
    for subnet in subnets:
        start = time.perf_counter()
        set_subnet(model, subnet)
        times.append(1000 * (time.perf_counter() - start))
    median = statistics.median(times)
    found = {"ratio": round(median, 5), "ours_ms": round(median, 5), "theirs_ms": 1.0}
    return {"switch / 1 ms": found}


def memory(processes=5):
    """Resident memory after a clip at every width of a grid, against the plain network's.

    Medians over fresh processes: what the allocator keeps varies by a tenth.
    """
    found = {False: [], True: []}
    for _ in range(processes):
        for slim in found:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found[slim].append(pool.apply(_resident, (slim,)))
    plain, ours = (statistics.median(found[slim]) for slim in (False, True))
    found = {"ratio": round(ours / plain, 4), "ours_mib": ours, "theirs_mib": plain}
    return {"resident memory in place / plain network": found}


def _resident(slim):
    """MiB that this fresh process holds after recognising with X3D-M at 16x224."""
    cfg = load_cfg(None, X3D_M)
    model = (
        build_model(cfg)
        if slim
        else create_x3d(
            input_clip_length=16, input_crop_size=224, depth_factor=2.2, head_activation=None
        )
    )
    model.eval().to(memory_format=torch.channels_last_3d)
    clip = torch.randn(1, 3, 16, 224, 224).contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode():
        for subnet in build_sampler(cfg).draw(0) if slim else (None, None, None, None):
            if slim:
                set_subnet(model, subnet)
            model(clip)
    gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return round(pages * 4096 / 2**20, 1)


# What a user would bring: (network, shape of a clip or picture, training batch).
_BROUGHT = {
    "X3D-M": (
        lambda: create_x3d(
            input_clip_length=8, input_crop_size=128, depth_factor=2.2, head_activation=None
        ),
        (3, 8, 128, 128),
        4,
    ),
    "ResNet-50": (torchvision.models.resnet50, (3, 160, 160), 32),
    "DenseNet-121": (torchvision.models.densenet121, (3, 160, 160), 32),
}


def slices(repeats=3, widths=(0.25, 0.5, 0.75, 1.0)):
    """The sliced network against the extracted one: one clip in eval, a training pass."""
    found = {}
    for name, (build, shape, batch) in _BROUGHT.items():
        video = len(shape) == 4
        layout = torch.channels_last_3d if video else torch.channels_last
        model = slimmable(build(), example=torch.empty(2, *shape, device="meta"))
        model.to(memory_format=layout)
        for width in widths:
            subnet = Subnet(width, shape[1] if video else None, shape[-1])
            set_subnet(model, subnet)
            static = extract(model, subnet).to(memory_format=layout)
            kinds = ("eval", _eval_pass, 1), ("training", _training_pass, batch)
            for kind, function, count in kinds:
                x = torch.randn(count, *shape).contiguous(memory_format=layout)
                run = [lambda n=n, f=function, x=x: f(n, x) for n in (model, static)]
                for network in (model, static):
                    network.train(kind == "training")
                times = repeats if kind == "training" else 10 * repeats
                label = f"{name} {subnet} {kind}"
                found[label] = side_by_side(*run, times, label)
    return found


@torch.inference_mode()
def _eval_pass(network, x):
    network(x)


def _training_pass(network, x):
    network.zero_grad(set_to_none=True)
    network(x).square().mean().backward()


def costs():
    """Costs of a grid of 100 sub-networks of X3D-M, against torch's own counter on each."""
    cfg = load_cfg(None, [*X3D_M, "DATA.NUM_FRAMES", "16", "DATA.TRAIN_CROP_SIZE", "224"])
    model = build_model(cfg)
    grid = itertools.product((1.0, 0.9, 0.8, 0.7, 0.63), (16, 13, 10, 8, 6), (224, 192, 160, 128))
    subnets = [Subnet(*shape) for shape in grid]

    def with_torch():
        twin = meta_twin(model)
        for subnet in subnets:
            set_subnet(twin, subnet)
            with FlopCounterMode(display=False):
                twin(example_input(twin, subnet))

    found = side_by_side(lambda: count_costs(model, subnets), with_torch, 1, "costs")
    return {f"costs of {len(subnets)} sub-networks / torch's counter": found}
