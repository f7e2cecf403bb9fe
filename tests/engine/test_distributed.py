"""Two gloo processes on the CPU against one process on the whole batch."""

import os
import subprocess
import sys

import pytest
import torch
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from mutualvideo import QueryTable, Subnet, slimmable
from mutualvideo.engine import distributed
from mutualvideo.mutual import SubnetSampler, mutual_step
from tests.tools.test_run_net import ROOT, plain

FULL = Subnet(1, 4, 16)


def network():
    torch.manual_seed(0)
    return slimmable(
        nn.Sequential(
            nn.Conv3d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv3d(16, 16, 3, padding=1, groups=16),
            nn.Conv3d(16, 32, 1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
            nn.Linear(32, 5),
        ),
        (0.5, 1),
        full=FULL,
    ).train()


def data():
    generator = torch.Generator().manual_seed(1)
    clips = torch.randn(8, 3, 4, 16, 16, generator=generator)
    return clips, torch.randint(0, 5, (8,), generator=generator)


def draw():
    return SubnetSampler(FULL, "mutual", (0.5, 1), 2, [4, 2], [16, 8], 0).draw(5)


def one_rank(rank, world_size, port, folder):
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(rank),
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
    )
    context = distributed.setup()
    model = network()
    parallel = DistributedDataParallel(model)
    reductions = 0

    def count(state, bucket):
        nonlocal reductions
        reductions += 1
        return allreduce_hook(state, bucket)

    parallel.register_comm_hook(None, count)
    clips, labels = data()
    share = slice(rank * 8 // world_size, (rank + 1) * 8 // world_size)
    mutual_step(model, clips[share], labels[share], draw(), parallel=parallel)
    torch.save([p.grad for p in model.parameters()], f"{folder}/{rank}.pt")
    assert reductions == 1, "one all-reduce a step (the tiny network is one bucket)"
    assert distributed.sum_over_processes(torch.tensor(1)) == world_size
    assert context.is_main == (rank == 0)
    distributed.cleanup()


@pytest.mark.parametrize("world_size", [2, 4])
def test_gradients_equal_the_whole_batchs(tmp_path, world_size, unused_ports):
    mp.spawn(one_rank, (world_size, *unused_ports(1), tmp_path), nprocs=world_size)
    model = network()
    mutual_step(model, *data(), draw())
    for rank in range(world_size):
        found = torch.load(tmp_path / f"{rank}.pt")
        for mine, whole in zip(found, model.parameters(), strict=True):
            torch.testing.assert_close(mine, whole.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_torchrun_trains_and_evaluates_every_video_once(tiny, tmp_path):
    import yaml

    from mutualvideo.config.load import cfg_to_dict

    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(plain(cfg_to_dict(tiny(SOLVER__MAX_EPOCH=1)))))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*command, "tools/run_net.py", "--cfg", str(path)],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 process(es)" in done.stdout
    table = QueryTable.load_json(tmp_path / "run" / "query_table.json")
    assert table.metadata["videos"] == 4 and len(table) == 4
