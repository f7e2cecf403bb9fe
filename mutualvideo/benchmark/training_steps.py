"""Training steps: each side in a process of its own, for both as it would train."""

import multiprocessing
from contextlib import contextmanager

import torch
from pytorchvideo.models.x3d import create_x3d
from torch.nn import functional as F

from mutualvideo.benchmark.network_steps import X3D_M
from mutualvideo.benchmark.side_by_side import side_by_side
from mutualvideo.config import load_cfg
from mutualvideo.engine.optimizer import build_optimizer
from mutualvideo.engine.train import build_sampler
from mutualvideo.models import build_model
from mutualvideo.mutual import mutual_step
from mutualvideo.run.allocator import keep_freed_memory


def train_step(repeats=5, batch=4, frames=16, size=160):
    """One step of X3D-M: ours mutual and plain, against PyTorchVideo's in its default layout.

    Our training tells the allocator to keep freed memory, so our process does here. With that for
    PyTorchVideo too, what is left are the networks and passes: "same allocator".
    """
    shape = batch, frames, size
    found = {}
    with (
        beside(Ours, shape, True) as ours,
        beside(Theirs, shape, False) as theirs,
        beside(Theirs, shape, True) as theirs_kept,
    ):
        for other, words in ((theirs, ""), (theirs_kept, ", same allocator")):
            for kind in ("mutual", "full"):
                found[f"{kind} step / PyTorchVideo step{words}"] = side_by_side(
                    lambda kind=kind: ours(kind), lambda other=other: other("plain"), repeats, kind
                )
    return found


class Ours:
    """Steps of X3D-M as a run of ours takes them; sizes and frames are drawn from the defaults."""

    def __init__(self, batch, frames, size):
        cfg = load_cfg(
            None, [*X3D_M, "DATA.NUM_FRAMES", str(frames), "DATA.TRAIN_CROP_SIZE", str(size)]
        )
        clips = torch.randn(batch, 3, frames, size, size)
        self.clips = clips.contiguous(memory_format=torch.channels_last_3d)
        self.labels, self.number = torch.arange(batch), 0
        self.model = build_model(cfg).to(memory_format=torch.channels_last_3d).train()
        self.optimizer, self.sampler = build_optimizer(self.model, cfg), build_sampler(cfg)

    def step(self, kind):
        subnets = self.sampler.draw(self.number)
        self.number += 1
        self.optimizer.zero_grad(set_to_none=True)
        chosen = subnets if kind == "mutual" else subnets[:1]
        mutual_step(self.model, self.clips, self.labels, chosen)
        self.optimizer.step()


class Theirs:
    """The same of PyTorchVideo's network."""

    def __init__(self, batch, frames, size):
        self.clips, self.labels = torch.randn(batch, 3, frames, size, size), torch.arange(batch)
        self.model = create_x3d(
            input_clip_length=frames, input_crop_size=size, depth_factor=2.2, head_activation=None
        ).train()
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.01, 0.9, nesterov=True)

    def step(self, kind):
        self.optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(self.model(self.clips), self.labels).backward()
        self.optimizer.step()


@contextmanager
def beside(side, shape, keeps):
    """A function that makes a process take a step and waits for it.

    Args:
        side: class with a method ``step(kind)``; made in the process.
        shape: its arguments.
        keeps: whether the process keeps freed memory.

    Raises:
        EOFError: if the process has ended, whose error is on standard error.
    """
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    threads = torch.get_num_threads()
    process = context.Process(target=_serve, args=(theirs, side, shape, keeps, threads))
    process.start()
    theirs.close()

    def ask(kind):
        ours.send(kind)
        ours.recv()

    try:
        ours.recv()  # its network is built
        yield ask
    finally:
        ours.close()
        process.join()


def _serve(pipe, side, shape, keeps, threads):
    torch.set_num_threads(threads)
    if keeps:
        keep_freed_memory()
    built = side(*shape)
    pipe.send(None)
    try:
        while True:
            built.step(pipe.recv())
            pipe.send(None)
    except EOFError:  # no more is asked for
        return
