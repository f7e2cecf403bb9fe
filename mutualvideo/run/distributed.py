"""What this process runs on, and how it talks to the others."""

import itertools
import logging
import os
import time
from dataclasses import dataclass

import torch
import torch.distributed as dist

logger = logging.getLogger(__name__)

_POLL_S = 0.2
_waits = itertools.count()


@dataclass(frozen=True)
class Context:
    """One process of a run.

    Attributes:
        device: where its tensors live.
        rank: its number among all processes, from 0.
        world_size: how many processes there are.
        nodes: how many machines they run on.
        store: what the processes tell each other beside tensors (``torch.distributed.Store``);
            ``None`` where there is one process and no group.
    """

    device: torch.device
    rank: int = 0
    world_size: int = 1
    nodes: int = 1
    store: object = None

    @property
    def is_main(self):
        """Whether this process writes files and the log."""
        return self.rank == 0

    def describe(self):
        """One line for the log: what the run uses."""
        if self.device.type == "cuda":
            what = f"{self.world_size} x {torch.cuda.get_device_name(self.device)}"
        else:
            what = f"CPU, {torch.get_num_threads()} threads"
        nodes = f" on {self.nodes} nodes" if self.nodes > 1 else ""
        return f"running on {what}, {self.world_size} process(es){nodes}"


def setup():
    """Joins the process group if ``torchrun`` started us; else one device, no group.

    NCCL with CUDA, gloo without. The environment of ``torchrun`` decides the world.
    """
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    if "WORLD_SIZE" not in os.environ or "RANK" not in os.environ:
        return Context(device)
    store, rank, world_size = next(dist.rendezvous("env://"))
    store = _of_this_start(store)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", world_size))
    return Context(device, rank, world_size, world_size // here, store)


def _of_this_start(store):
    """``store`` without what processes wrote that ``torchrun`` has replaced since.

    ``torchrun`` shares its store with all starts of its workers, and they would look for one
    another where the last start's were. It counts starts for each machine by itself, so the
    count tells them apart on one machine alone.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return store
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        return dist.PrefixStore(f"start {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    if os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0" and os.environ["RANK"] == "0":
        logger.warning(
            "processes that are restarted on several machines cannot join again: set "
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 where torchrun starts, see docs/distributed.md"
        )
    return store


def cleanup():
    """Leaves the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def sum_over_processes(tensor):
    """``tensor`` summed over all processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def gather_to_main(value):
    """``[value of every process, by rank]`` in the main process, ``None`` in the others.

    Args:
        value: anything that pickles; no tensor on a GPU.
    """
    if not dist.is_initialized():
        return [value]
    found = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
    dist.gather_object(value, found)
    return found


def from_main(value):
    """The main process's ``value``, in every process."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def barrier():
    """Waits for all processes, if there are several."""
    if dist.is_initialized():
        dist.barrier()


def wait_for_main(context):
    """Waits until the main process comes here, too, for hours if need be.

    A collective operation gives up after minutes: what the main process does alone may take longer.

    Raises:
        torch.distributed.DistError: if the main process is gone.
    """
    if context.store is not None:
        key = f"main process {next(_waits)}"  # all processes come here equally often
        if context.is_main:
            context.store.set(key, "here")
        while not context.store.check([key]):
            time.sleep(_POLL_S)
    barrier()


def by_all(context, value):
    """Whether ``value`` is true in every process."""
    no = torch.tensor(not value, dtype=torch.int64, device=context.device)
    return sum_over_processes(no).item() == 0
