"""What a run would be: found out with one step, without training and without writing anything."""

import itertools
import os
import sys
import time
from dataclasses import dataclass

import torch

from mutualvideo.config import get_cfg, takes_pictures
from mutualvideo.data.class_count import class_names
from mutualvideo.engine.kept_memory import kept_bytes as _kept_bytes
from mutualvideo.engine.optimizer import learning_rate
from mutualvideo.engine.starting_point import load_initial, newest_of
from mutualvideo.engine.step_plan import Step, StepPlan
from mutualvideo.engine.tasks import task_of
from mutualvideo.engine.time_estimate import Share, multigrid_lines, shares_of, time_left
from mutualvideo.engine.train import build_sampler, build_trained
from mutualvideo.engine.update import Updater
from mutualvideo.errors import InputError
from mutualvideo.run.checkpoint import resume
from mutualvideo.run.durations import clock_time
from mutualvideo.run.heartbeat import heard
from mutualvideo.run.progress import Progress
from mutualvideo.slim import input_shape

# Without a GPU: clips of the step that memory is measured with, and bytes of activations that as
# many clips of the one that is timed may take. The more, the less do clips count alone.
_CLIPS, _TIMED_BYTES = 2, 2**30
# Steps whose draws are averaged, and batches whose coming is timed.
_DRAWS, _BATCHES = 32, 4
_MIB = 2**20


@dataclass(frozen=True)
class Estimate:
    """What a run would take.

    Attributes:
        macs: multiply-adds of a clip's forward passes in a step, the mean over draws; as the other
            figures of a step, with MULTIGRID of one of TRAIN.BATCH_SIZE whole clips.
        steps: of the first epoch; ``None``, as ``data_s`` and ``total_s``: there are no data.
        weights_bytes: weights, gradients, momentum and moving average.
        activations_bytes: what the full network's pass keeps for its backward pass.
        step_s: a step of a process, without waiting for data.
        data_s: a batch of a process, if nothing else were to be done.
        total_s: of the steps that are left: of both together without workers of the loader, else
            of whichever is slower.
    """

    macs: float
    steps: int | None
    weights_bytes: int
    activations_bytes: int
    step_s: float
    data_s: float | None
    total_s: float | None


def has_data(cfg):
    """Whether ``cfg`` names data: without DATA.PATH_TO_DATA_DIR there is nothing to look for."""
    return bool(cfg.DATA.PATH_TO_DATA_DIR)


def tell(line):
    """What is being done, beside what was found: on standard error, at once."""
    print(line, file=sys.stderr, flush=True)


def dry_run(cfg, context, say=print, doing=tell):
    """Tells what training by ``cfg`` would run on, with what, for how long.

    Steps are taken with a network that is thrown away, uncompiled: on a GPU of a whole batch, else
    of as many clips as surely fit, from which time and memory are scaled up in proportion. Between
    processes nothing is exchanged. Memory is weights, gradients, momentum and moving average, and
    what autograd keeps of the largest pass, each storage once: on the CPU within 30 % of what is
    allocated; on a GPU allocator and libraries take more.

    Without data (DATA.PATH_TO_DATA_DIR is empty) the step is taken with clips of noise, and what
    was not checked is said.

    Args:
        cfg: the configuration.
        context: this process; the main one speaks.
        say: what to do with each line.
        doing: what to do with each line that says what is being done, and every 20 seconds that it
            goes on; of the main process alone, from another thread too.

    Returns:
        :class:`Estimate`.

    Raises:
        InputError: for what a run would be refused for before its first step, if a GPU's memory is
            too small for it, or TRAIN.ENABLE is off.
    """
    if not cfg.TRAIN.ENABLE:
        raise InputError("a dry run tells what training would be, and TRAIN.ENABLE is False")
    try:
        return _dry_run(cfg, context, say, doing if context.is_main else lambda line: None)
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"a step of TRAIN.BATCH_SIZE {cfg.TRAIN.BATCH_SIZE} does not fit into the memory of "
            f"{context.device}: lower it, raise TRAIN.MICRO_BATCHES or set MODEL.ACT_CHECKPOINT"
        ) from error


def _dry_run(cfg, context, say, doing):
    told, task = has_data(cfg), task_of(cfg)
    cfg, assumed = (task.settle(cfg), None) if told else _assumed_classes(cfg)
    inputs_of = task.inputs(cfg)
    loader = plan = None
    if told:
        loader = task.loader(cfg, "train", context)
        plan = StepPlan(cfg, len(loader.dataset), context.world_size)
    sampler = build_sampler(cfg, plan.before(cfg.MUTUAL.ALONE_EPOCHS) if told else 0)
    model = build_trained(cfg, context.device).train()
    newest = newest_of(cfg, context)
    if newest is None:
        load_initial(cfg, model)
    weights = task.class_weights(cfg, loader.dataset) if told else None
    updater = Updater(cfg, context.device, model, class_weights=weights)
    classes = class_names(loader.dataset) if told else None
    progress = Progress() if newest is None else resume(*newest, cfg, updater, classes)
    first = sampler.alone  # before, the full network is alone
    draws = [sampler.draw(first + step) for step in range(_DRAWS)]
    with heard("counting multiply-adds", doing):
        costs = task.costs(cfg, model, list(dict.fromkeys(itertools.chain(*draws))))
        macs = sum(costs[one].macs for draw in draws for one in draw) / len(draws)
        whole_step = Step(cfg.TRAIN.BATCH_SIZE)
        shares = {whole_step: Share(1.0, 1.0, costs[draws[0][0]].macs / macs)}
        if told and plan.is_varied:
            shares |= shares_of(plan, model, sampler, macs)
    if told:
        with heard(f"reading {1 + _BATCHES} batches of data", doing):
            data_s, batch = _time_batches(loader)
        clips, targets = inputs_of(batch, context.device)
    else:
        data_s = None
        clips, targets = _noise(task, cfg, context, model, draws[0][0])
    whole, on_gpu = len(clips), context.device.type == "cuda"

    def step(count):
        smoothing, rate = inputs_of.label_smoothing, learning_rate(cfg, 0)
        updater(clips[:count], targets[:count], draws[0], smoothing, rate)

    parts = cfg.TRAIN.MICRO_BATCHES
    count = whole if on_gpu else min(whole, max(_CLIPS, parts))
    with heard(f"a step of {count}, for its memory", doing):
        kept = _kept_bytes(model, lambda: step(count)) / count
    if not on_gpu:
        count = min(whole, max(count, int(_TIMED_BYTES // kept)))
    with heard(f"two steps of {count}, for their time", doing):
        step(count)  # kernels are made for new shapes
        _finish(context.device)
        mark = time.perf_counter()
        step(count)
        _finish(context.device)
        took_s = time.perf_counter() - mark
    # Another draw takes more or less.
    typical = macs / sum(costs[one].macs for one in draws[0])
    step_s = took_s * whole / count * typical
    weights = sum(p.numel() * p.element_size() for p in model.parameters())

    done, total_s = 0, None
    if told:
        done = plan.before(progress.epoch) + progress.step
        total_s = time_left(
            plan, shares, done, first, (step_s, data_s), cfg.DATA_LOADER.NUM_WORKERS > 0
        )
    estimate = Estimate(
        macs,
        plan.steps_of(0) if told else None,
        # Adam keeps two means for every weight, SGD one.
        weights * (3 + (cfg.SOLVER.OPTIMIZING_METHOD != "sgd") + (updater.ema is not None)),
        round(kept * whole),
        step_s,
        data_s,
        total_s,
    )
    if context.is_main:
        inputs = [(one, _input_of(model, one, whole)) for one in draws[0]]
        for line in _lines(cfg, context, sampler, costs, inputs, count, estimate, plan, shares):
            say(line)
        origin = cfg.TRAIN.CHECKPOINT_FILE_PATH or "random weights"
        if newest is not None:
            origin = f"{newest[0]}, {f'{done} steps' if told else f'{progress.epoch} epochs'} done"
        say(f"starts from {origin}")
        for line in _not_checked(assumed) if not told else ():
            say(line)
        say(f"would write to {os.path.abspath(cfg.OUTPUT_DIR)}; nothing was written")
    return estimate


def _assumed_classes(cfg):
    """``cfg`` and the number of classes that stands for the one data would have, if any does."""
    if cfg.MODEL.NUM_CLASSES:
        return cfg, None
    cfg = cfg.clone()
    cfg.MODEL.NUM_CLASSES = get_cfg().MODEL.NUM_CLASSES
    return cfg, cfg.MODEL.NUM_CLASSES


def _not_checked(assumed):
    if assumed:
        yield (
            f"MODEL.NUM_CLASSES is not given, and there are no data to count: {assumed} were "
            "assumed; give it"
        )
    yield (
        "no data: DATA.PATH_TO_DATA_DIR is empty. Not checked: lists, labels, videos, the number "
        "of steps, time for data and in all; name the folder to check them too"
    )


def _noise(task, cfg, context, model, full):
    """Clips and targets that stand for a batch of a process."""
    count = cfg.TRAIN.BATCH_SIZE // context.world_size
    if count < 1 or cfg.TRAIN.BATCH_SIZE % context.world_size:
        raise InputError(
            f"TRAIN.BATCH_SIZE {cfg.TRAIN.BATCH_SIZE} does not divide among "
            f"{context.world_size} process(es)"
        )
    return task.noise(cfg, _input_of(model, full, count), context.device)


def _input_of(model, subnet, clips):
    """(B, C, T, H, W) or (B, C, H, W) of what ``model`` is fed as ``subnet``."""
    frames, size = input_shape(model, subnet)
    return (clips, 3, *(() if frames is None else (frames,)), size, size)


def _finish(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _time_batches(loader):
    """(seconds a batch, a batch); the first, for which workers start, counts if it is alone."""
    mark = time.perf_counter()
    batches = iter(loader)
    batch = next(batches)
    if len(loader) > 1:
        mark = time.perf_counter()
    count = sum(1 for _ in itertools.islice(batches, _BATCHES))
    return (time.perf_counter() - mark) / max(count, 1), batch


def _lines(cfg, context, sampler, costs, inputs, timed, estimate, plan, shares):
    (full, (whole, *_)), what = inputs[0], "images" if takes_pictures(cfg) else "clips"
    yield context.describe()
    yield (
        f"{cfg.MODEL.MODEL_NAME}, {cfg.MODEL.NUM_CLASSES} classes, {costs[full].params:,} "
        f"parameters; MUTUAL.MODE {sampler.mode}"
    )
    for number, (subnet, shape) in enumerate(inputs):
        cost = costs[subnet]
        yield (
            f"  {'pupil' if number else 'full'} {subnet}: {cost.macs / 1e9:.4g} GMACs, "
            f"{cost.params:,} parameters, input {' x '.join(map(str, shape))}"
        )
    yield (
        f"a step: {estimate.macs / 1e9:.4g} GMACs forward for each of the {what}, "
        f"{estimate.macs / costs[full].macs:.2f} of the full network's (mean of {_DRAWS} draws)"
    )
    if plan is not None and plan.is_varied:
        yield from multigrid_lines(plan, cfg, shares, sampler.alone)
    elif plan is not None:
        yield (
            f"{estimate.steps} steps of {whole * context.world_size} {what} an epoch, "
            f"{plan.epochs} epochs: {plan.total} steps"
        )
    total = estimate.weights_bytes + estimate.activations_bytes
    yield (
        f"memory of a process: {total / _MIB:.0f} MiB, {estimate.weights_bytes / _MIB:.0f} of it "
        f"for weights, gradients and momentum, {estimate.activations_bytes / _MIB:.0f} for "
        "activations"
    )
    scaled = "" if timed == whole else f" (of {timed} {what}, scaled up)"
    if estimate.data_s is None:
        yield f"time: {estimate.step_s:.3g} s a step{scaled}, without data and evaluation"
        return
    slower = "computing" if estimate.step_s >= estimate.data_s else "the data"
    total = clock_time(estimate.total_s)
    yield (
        f"time: {estimate.step_s:.3g} s a step{scaled}, {estimate.data_s:.3g} s a batch of data: "
        f"{total} for what is left, bounded by {slower}; evaluation comes on top"
    )
