"""Training steps on a GPU: PyTorchVideo's, ours, compiled, and those of the multigrid schedule."""

import itertools
import math
from contextlib import nullcontext
from functools import partial

import torch
from pytorchvideo.models.resnet import create_resnet
from pytorchvideo.models.slowfast import create_slowfast
from pytorchvideo.models.x3d import create_x3d
from torch.nn import functional as F

from mutualvideo.benchmark.gpu_setup import ALPHA, BF16, LAST, configuration, forget, milliseconds
from mutualvideo.engine.optimizer import build_optimizer
from mutualvideo.engine.step_plan import Step, StepPlan
from mutualvideo.engine.train import build_sampler
from mutualvideo.models import build_model
from mutualvideo.mutual import Passes, compile_training, mutual_step
from mutualvideo.slim import place, training_shape

# Of Kinetics-400, which the epochs of the schedule are made of.
_VIDEOS = 240_000


def eager_steps(device, size):
    """Steps without ``torch.compile``: yields (name, what measures it).

    With the clips that a card of eight has in the recipes, and with four times as many: the first
    may take as long to launch as to run.
    """
    for times, name in itertools.product((1, 4), size.clips):
        more = f", {times} times the clips" if times > 1 else ""
        for precision in (None, BF16):
            text = "bf16" if precision else "fp32"
            make = partial(_theirs, name, size, precision)
            label = f"{name} PyTorchVideo {text} default layout{more}"
            yield label, partial(_one, label, make, name, size, device, times)
        for mode in ("single", "mutual"):
            label = f"{name} ours {mode} bf16{more}"
            make = partial(_ours, name, size, mode, None)
            yield label, partial(_one, label, make, name, size, device, times)


def compiled_steps(device, size):
    """Steps under ``torch.compile``: yields (name, what measures it)."""
    for name in ("X3D-M", "Slow 8x8"):
        for mode in ("single", "mutual"):
            label = f"{name} ours {mode} bf16 compiled"
            make = partial(_ours, name, size, mode, size.compiler)
            yield label, partial(_one, label, make, name, size, device)


def _one(label, make, name, size, device, times=1):
    frames, pixels, count = size.clips[name]
    clips = torch.randn(times * count, 3, frames, pixels, pixels, device=device)
    return {label: _measure_step(make, clips, size.seconds)}


def _theirs(name, size, precision, device):
    model = _upstream(name, size).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9, nesterov=True)
    alpha = ALPHA if name.startswith("SlowFast") else None

    def step(clips, labels):
        optimizer.zero_grad(set_to_none=True)
        given = clips if alpha is None else [clips[:, :, ::alpha], clips]
        with torch.autocast(device.type, precision) if precision else nullcontext():
            loss = F.cross_entropy(model(given), labels)
        loss.backward()
        optimizer.step()

    return step, torch.contiguous_format


def _ours(name, size, mode, compiler, device, whole=None, norm_parts=1):
    cfg = configuration(name, size, mode)
    model = place(build_model(cfg), device).train()
    optimizer = build_optimizer(model, cfg)
    # The same sub-networks in every step: under torch.compile each width is a graph of its own.
    subnets = build_sampler(cfg).draw(0, whole)
    if compiler:
        compile_training(model, subnets, len(subnets), compiler)

    def step(clips, labels):
        optimizer.zero_grad(set_to_none=True)
        with training_shape(model, subnets[0], norm_parts):
            mutual_step(model, clips, labels, subnets, passes=Passes(precision=BF16))
        optimizer.step()

    return step, LAST


def multigrid(device, size):
    """Every kind of step of X3D-M's multigrid schedule, and all of its steps over the plain ones.

    With as many clips a card as the plain schedule has, and its videos.
    """
    # Tiny pictures have no room for smaller ones.
    tiny = ["MULTIGRID.LONG_CYCLE_FACTORS", [[0.5, 1.0]], "MULTIGRID.SHORT_CYCLE", False]
    cfg = configuration("X3D-M multigrid", size, more=tiny if device.type == "cpu" else ())
    plan = StepPlan(cfg, _VIDEOS)
    frames, pixels, count = size.clips["X3D-M"]
    found, whole_run = {}, {}
    plain_kind = Step(count)
    for kind, number in [(plain_kind, plan.plain_total), *plan.all_kinds().items()]:
        shape = {"whole": kind.whole, "norm_parts": kind.norm_parts}
        make = partial(_ours, "X3D-M", size, "mutual", None, **shape)
        long = frames if kind.whole is None else kind.whole.frames
        wide = kind.size or pixels
        x = torch.randn(kind.clips, 3, long, wide, wide, device=device)
        values = _measure_step(make, x, size.seconds / 2)
        if kind is not plain_kind:
            parts = f", normalised in {kind.norm_parts}" if kind.norm_parts > 1 else ""
            name = f"X3D-M ours mutual bf16 multigrid {kind.clips} of {long}x{wide}{parts}"
            found[name] = values
        schedule = "plain" if kind is plain_kind else "multigrid"
        whole_run[schedule] = whole_run.get(schedule, 0.0) + values["ms"] * number
        forget(device)
    ratio = whole_run["multigrid"] / whole_run["plain"]
    found["X3D-M multigrid schedule / plain schedule"] = {"ratio": ratio}
    return found


def _measure_step(make, clips, seconds):
    device = clips.device
    step, layout = make(device)
    clips = clips.contiguous(memory_format=layout)
    labels = torch.arange(len(clips), device=device) % 400
    ms = milliseconds(lambda: step(clips, labels), seconds)
    found = {"ms": ms, "clips_per_s": 1000 * len(clips) / ms}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        step(clips, labels)
        found["peak_mib"] = torch.cuda.max_memory_allocated(device) / 2**20
    return found


def _upstream(name, size):
    """PyTorchVideo's network of the same shape; gives logits."""
    frames, pixels, _ = size.clips[name]
    if name.startswith("X3D"):
        return create_x3d(
            input_clip_length=frames,
            input_crop_size=pixels,
            depth_factor=size.depth,
            head_activation=None,
        )
    side = math.ceil(pixels / 32)
    if name.startswith("SlowFast"):
        pools = (frames // ALPHA, side, side), (frames, side, side)
        return create_slowfast(
            slowfast_channel_reduction_ratio=(8,),
            slowfast_fusion_conv_stride=(ALPHA, 1, 1),
            head_pool_kernel_sizes=pools,
        )
    return create_resnet(
        stem_conv_kernel_size=(1, 7, 7), head_pool_kernel_size=(frames, side, side)
    )
