"""What every process of a group does in tests/engine/test_distributed.py, and one alone too."""

import copy
import multiprocessing
import os
import threading

import torch
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from mutualvideo import Subnet
from mutualvideo.data.loader import build_loader
from mutualvideo.engine.train import build_sampler
from mutualvideo.engine.update import Updater
from mutualvideo.evaluation.evaluate import calibrate_from, evaluate
from mutualvideo.models import build_model, full_subnet
from mutualvideo.mutual import Passes, mutual_step
from mutualvideo.mutual.step import PassResult
from mutualvideo.run import distributed
from mutualvideo.run.reduce import means_over_processes
from mutualvideo.run.stopping import Stop
from mutualvideo.slim import calibrate, get_statistics, slim_state, training_shape
from tests.evaluation import listed

STEPS, CLIPS, VIDEOS = 3, 8, 11
SUBNETS = [Subnet.parse(text) for text in ("0.5x4x40", "1x2x32", "0.5x2x32")]


# Building takes longer than a step.
_built = []


def network(cfg, frozen):
    """X3D with weights and statistics that are not the initial ones; no dropout."""
    torch.manual_seed(0)
    if not _built:
        _built.append(build_model(cfg))
    torch.manual_seed(1)
    model = copy.deepcopy(_built[0]).train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.train(not frozen)
        elif isinstance(module, nn.Dropout):
            module.p = 0
    return model


def batches(count, sizes=(CLIPS,)):
    generator = torch.Generator().manual_seed(1)
    for size in sizes * count:
        clips = torch.randn(size, 3, 4, 40, 40, generator=generator)
        yield clips, torch.randint(0, 2, (size,), generator=generator)


def share(values, context):
    return values.tensor_split(context.world_size)[context.rank]


def in_parts(cfg, context):
    """The same of one step whose BatchNorm sees half of the clips at a time."""
    model = network(cfg, frozen=False)
    slim_state(model).over_processes = context.world_size > 1
    parallel = DistributedDataParallel(model) if context.world_size > 1 else None
    # As the loader shares batches: the first half of each process's are of the first half of all.
    clips, labels = (t[context.rank :: context.world_size] for t in next(batches(1)))
    subnets = build_sampler(cfg).draw(0)
    with training_shape(model, subnets[0], norm_parts=2):
        mutual_step(model, clips, labels, subnets, 0.1, Passes(parallel))
    return {
        "gradients": {n: p.grad.clone() for n, p in model.named_parameters()},
        "statistics": {n: t.clone() for n, t in model.named_buffers()},
    }


def steps(cfg, context, frozen):
    """Gradients of the first of several mutual steps, statistics after it, what was reduced."""
    model, parallel, reduced = network(cfg, frozen), None, []
    slim_state(model).over_processes = not frozen and context.world_size > 1
    if context.world_size > 1:
        parallel = DistributedDataParallel(model)

        def count(state, bucket):
            reduced[-1].append(bucket.buffer().numel())
            return allreduce_hook(state, bucket)

        parallel.register_comm_hook(None, count)
    sampler, found = build_sampler(cfg), {"reduced": reduced}
    for step, (clips, labels) in enumerate(batches(STEPS)):
        reduced.append([])
        model.zero_grad(set_to_none=True)
        subnets = sampler.draw(step)
        clips, labels = share(clips, context), share(labels, context)
        results = mutual_step(model, clips, labels, subnets, 0.1, Passes(parallel))
        if step == 0:
            found["gradients"] = {n: p.grad.clone() for n, p in model.named_parameters()}
            found["statistics"] = {n: t.clone() for n, t in model.named_buffers()}
            found["means"] = means_over_processes(results, len(clips))
    return found


def calibrated(cfg, context):
    """Statistics of sub-networks from batches that do not divide evenly."""
    model = network(cfg, frozen=True)
    clips = [share(clips, context) for clips, _ in batches(1, (CLIPS, 5))]
    calibrate(model, SUBNETS, clips, over_processes=context.world_size > 1)
    return get_statistics(model)["subnets"]


def calibrated_from_videos(cfg, context):
    """The same as a run has it, and how many clips of which videos this process read."""
    model = network(cfg, frozen=True)
    loader = build_loader(cfg, "calibration", context.rank, context.world_size)
    calibrate_from(loader, model, SUBNETS, cfg, context)
    videos = [row for batch in loader for row in batch["video"].tolist()]
    return get_statistics(model)["subnets"], videos


def evaluated(context):
    clips, labels = listed.clips_of(VIDEOS)
    loader = listed.ListedLoader(clips, labels, 4, context.rank, context.world_size)
    cfg = listed.configuration()
    found = evaluate(listed.network(), listed.SUBNETS, loader, cfg, context)
    rows = {row for one in found.predictions.values() for row in one.rows.tolist()}
    return found.accuracies, found.videos, sorted(rows)


def means(context):
    """Of losses that are the rank, over rank + 1 clips, of which one is right."""
    count = context.rank + 1
    loss = torch.tensor(float(context.rank))
    return means_over_processes([PassResult(SUBNETS[0], loss, torch.tensor(1))], count)


def faulty(cfg, context, subnet, value):
    """A step in which the last process alone gets scores of ``value`` for one sub-network."""
    model = network(cfg, frozen=True)
    parallel = DistributedDataParallel(model) if context.world_size > 1 else None
    updater = Updater(cfg, context.device, model, parallel)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    clips, labels = next(batches(1))
    clips, labels = share(clips, context), share(labels, context)

    def hook(model, args, scores):
        poisoned = context.rank == context.world_size - 1 and slim_state(model).subnet == subnet
        return scores + value if poisoned else scores

    model.register_forward_hook(hook)
    done = updater(clips, labels, [full_subnet(cfg), *SUBNETS[1:]], 0.0, 0.1)
    unchanged = all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    return done.fault, unchanged


def stopped(context):
    """The step after which a run ends, when the last process is asked to within step 2."""
    event = threading.Event()
    stop = Stop(context, event)
    for step in range(9):
        if step == 2 and context.rank == context.world_size - 1:
            event.set()
        distributed.sum_over_processes(torch.zeros(1))
        if stop.after(step):
            return step


def everything(cfg, context):
    sampler = build_sampler(cfg)
    return {
        "frozen": steps(cfg, context, frozen=True),
        "synchronised": steps(cfg, context, frozen=False),
        "in parts": in_parts(cfg, context),
        "calibrated": calibrated(cfg, context),
        "videos": calibrated_from_videos(cfg, context),
        "evaluated": evaluated(context),
        "means": means(context),
        "faults": [
            faulty(cfg, context, subnet, value)
            for subnet, value in [(full_subnet(cfg), torch.nan), (SUBNETS[2], torch.inf)]
        ],
        "no fault": faulty(cfg, context, None, 0),
        "stopped": stopped(context),
        "draws": [[str(subnet) for subnet in sampler.draw(step)] for step in range(20)],
        "after main": after_main(context),
        "by all": [
            distributed.by_all(context, True),
            distributed.by_all(context, context.rank != context.world_size - 1),
            distributed.by_all(context, False),
        ],
        "sum": int(distributed.sum_over_processes(torch.tensor(1))),
        "main": context.is_main,
        "nodes": context.nodes,
    }


def after_main(context):
    """Whether this process, having waited, finds what the main one did before."""
    found = []
    for number in range(3):
        key = f"work {number}"
        if context.is_main and context.store is not None:
            context.store.set(key, "done")
        distributed.wait_for_main(context)
        found.append(context.store is None or context.store.check([key]))
    return found


def in_groups(work, cfg, ports, folder):
    """``{world size: [work(cfg, context) of each process]}``.

    Args:
        work: a function of a module, here and in other processes.
        ports: ``{world size: a free port}``.
        folder: where processes leave what they found.
    """
    # Forked from a process that imports torch once, which takes longer than all the rest.
    multiprocessing.set_forkserver_preload([work.__module__])
    mp.start_processes(
        _one_rank, (work, cfg, ports, folder), nprocs=max(ports), start_method="forkserver"
    )
    return {
        size: [
            torch.load(f"{folder}/{rank}of{size}.pt", weights_only=False) for rank in range(size)
        ]
        for size in ports
    }


def _one_rank(rank, work, cfg, ports, folder):
    """Joins one group after the other: starting a process takes longer than what it does."""
    torch.set_num_threads(1)
    for world_size, port in ports.items():
        if rank < world_size:
            os.environ.update(
                RANK=str(rank),
                WORLD_SIZE=str(world_size),
                LOCAL_RANK=str(rank),
                LOCAL_WORLD_SIZE="2",
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(port),
            )
            context = distributed.setup()
            torch.save(work(cfg, context), f"{folder}/{rank}of{world_size}.pt")
            distributed.cleanup()
