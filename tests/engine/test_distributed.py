"""Two and four gloo processes on the CPU against one process on the whole batches."""

import os
import re
import subprocess
import sys

import pytest
import torch

from mutualvideo import QueryTable
from mutualvideo.engine.train import train
from mutualvideo.errors import InputError
from mutualvideo.run.distributed import Context
from mutualvideo.run.log import setup_logging
from tests.engine import together
from tests.engine.conftest import KEYS
from tests.engine.logged import stats, stats_of
from tests.networks import make_cfg
from tests.tools.test_run_net import ROOT

CPU = Context(torch.device("cpu"))
WORLDS = (2, 4)


@pytest.fixture(scope="module")
def cfg(video_folder):
    return make_cfg("X3D", **{**KEYS, "DATA__PATH_TO_DATA_DIR": video_folder})


@pytest.fixture(scope="module")
def alone(cfg):
    torch.set_num_threads(1)
    return together.everything(cfg, CPU)


@pytest.fixture(scope="module")
def groups(cfg, tmp_path_factory, unused_ports):
    """``{world size: [what each process found]}``."""
    ports = dict(zip(sorted(WORLDS, reverse=True), unused_ports(len(WORLDS)), strict=True))
    return together.in_groups(together.everything, cfg, ports, tmp_path_factory.mktemp("ranks"))


@pytest.fixture(params=WORLDS)
def ranks(request, groups):
    return groups[request.param]


def check_equal(found, wanted, atol):
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=atol, msg=name)


def test_gradients_are_those_of_the_whole_batch(ranks, alone):
    for rank in ranks:
        check_equal(rank["frozen"]["gradients"], alone["frozen"]["gradients"], 1e-5)


def test_gradients_are_reduced_once_a_step(ranks, alone):
    count = sum(tensor.numel() for tensor in alone["frozen"]["gradients"].values())
    for rank in ranks:
        # The network is smaller than one bucket of DDP.
        assert rank["frozen"]["reduced"] == [[count]] * together.STEPS


@pytest.mark.parametrize("case", ["synchronised", "in parts"])
def test_synchronised_norms_are_those_of_the_whole_batch(ranks, alone, case):
    for rank in ranks:
        check_equal(rank[case]["gradients"], alone[case]["gradients"], 1e-5)
        check_equal(rank[case]["statistics"], alone[case]["statistics"], 1e-5)


def test_every_process_draws_the_same_sub_networks(ranks, alone):
    assert len({subnet for draw in alone["draws"] for subnet in draw}) > 10
    for rank in ranks:
        assert rank["draws"] == alone["draws"]


@pytest.mark.parametrize("case", ["calibrated", "videos"])
def test_calibration_gives_the_statistics_of_the_whole_batches(ranks, alone, case):
    wanted = alone[case] if case == "calibrated" else alone[case][0]
    for rank in ranks:
        found = rank[case] if case == "calibrated" else rank[case][0]
        assert found.keys() == wanted.keys() == {str(subnet) for subnet in together.SUBNETS}
        for subnet, layers in wanted.items():
            for name, pair in layers.items():
                for mine, whole in zip(found[subnet][name], pair, strict=True):
                    torch.testing.assert_close(mine, whole, rtol=1e-4, atol=1e-5, msg=name)
    read = [row for rank in ranks for row in rank["videos"][1]]
    assert sorted(read) == sorted(alone["videos"][1])


def test_evaluation_counts_every_video_once(ranks, alone):
    for rank in ranks:
        accuracies, videos, rows = rank["evaluated"]
        assert (accuracies, videos) == alone["evaluated"][:2]
        assert rows == (list(range(together.VIDEOS)) if rank["main"] else [])


def test_logged_losses_are_means_over_all_clips(ranks, alone):
    for rank in ranks:
        for found, wanted in zip(rank["frozen"]["means"], alone["frozen"]["means"], strict=True):
            assert found == pytest.approx(wanted, rel=1e-5)
        world = range(len(ranks))
        clips = sum(number + 1 for number in world)
        ((loss, top1_err),) = rank["means"]
        assert loss == pytest.approx(sum(number * (number + 1) for number in world) / clips)
        assert top1_err == pytest.approx(100 - 100 * len(ranks) / clips)


def test_a_fault_in_one_process_is_skipped_by_all_and_named_in_the_main_one(ranks, alone):
    for number, subnet in enumerate(["1x4x40", "0.5x2x32"]):
        for rank in [*ranks, alone]:
            fault, unchanged = rank["faults"][number]
            assert fault and unchanged
        assert f"the loss of {subnet} is nan" in ranks[0]["faults"][number][0]
    for rank in [*ranks, alone]:
        assert rank["no fault"] == (None, False)


def test_all_processes_end_after_the_same_step(ranks, alone):
    assert alone["stopped"] == 2
    assert {rank["stopped"] for rank in ranks} == {3}


def test_every_process_knows_its_place(ranks):
    assert [rank["main"] for rank in ranks] == [True] + [False] * (len(ranks) - 1)
    assert {rank["sum"] for rank in ranks} == {len(ranks)}
    assert {rank["nodes"] for rank in ranks} == {len(ranks) // 2}


def test_an_unknown_norm_is_refused(tiny):
    with pytest.raises(InputError, match="BN.NORM_TYPE layernorm: choose batchnorm or sync"):
        train(tiny(BN__NORM_TYPE="layernorm"), CPU)


def torchrun(*options):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    return subprocess.run(
        [*command, *map(str, options)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )


def write_cfg(tiny, path, **changes):
    path.write_text(tiny(**changes).dump())
    return path


# Kills the second process once, without warning, within the second epoch.
KILLING = """
import os, runpy, signal, sys
from mutualvideo.engine.update import Updater

take, count = Updater.__call__, iter(range(100))

def call(self, *args):
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if first and next(count) == 3 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return take(self, *args)

Updater.__call__ = call
sys.argv[0] = "tools/run_net.py"
runpy.run_path("tools/run_net.py", run_name="__main__")
"""


@pytest.mark.slow
def test_a_killed_process_resumes_to_the_losses_of_one_alone_and_all_is_evaluated(tiny, tmp_path):
    (tmp_path / "killing.py").write_text(KILLING)
    # Neither the statistics nor dropout depend on how many processes there are.
    changes = {"SOLVER__MAX_EPOCH": 2, "MODEL__DROPOUT_RATE": 0}
    changes |= {"TRAIN__CHECKPOINT_STEPS": 1, "LOG_JSON_STATS": True}
    changes |= {"BN__NORM_TYPE": "sync_batchnorm", "SOLVER__BASE_LR": 0.002}
    path = write_cfg(tiny, tmp_path / "tiny.yaml", **changes)
    done = torchrun("--max-restarts=1", tmp_path / "killing.py", "--cfg", path)
    assert done.returncode == 0, done.stderr[-6000:]
    assert "exitcode: -9" in done.stderr
    said = re.sub(r"\n +", " ", done.stdout)  # long lines are broken
    assert (
        "2 process(es)" in said
        and said.count("resumed from") == 1
        and ", 1 epochs and 1 steps done" in said
    )
    table = QueryTable.load_json(tmp_path / "run" / "query_table.json")
    assert table.metadata["videos"] == 4 and len(table) == 4
    alone = tiny(OUTPUT_DIR=tmp_path / "alone", **changes)
    setup_logging(alone.OUTPUT_DIR, True)
    train(alone, CPU)
    wanted = stats_of(alone)
    found = [line for line in stats(done.stdout) if line["_type"].startswith("train")]
    assert [line["epoch"] for line in found] == [line["epoch"] for line in wanted]
    assert len({line["epoch"] for line in found if line["_type"] == "train_epoch"}) == 2
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.get("subnet") == theirs.get("subnet")
        # Statistics of four clips amplify the rounding of their sums.
        assert mine["loss"] == pytest.approx(theirs["loss"], abs=1e-3)
        assert mine["top1_err"] == theirs["top1_err"]


def test_all_wait_for_what_the_main_process_does_alone(ranks, alone):
    assert all(rank["after main"] == [True] * 3 for rank in [*ranks, alone])


def test_what_one_process_lacks_all_begin_anew(ranks, alone):
    assert alone["by all"] == [True, False, False]
    assert all(rank["by all"] == [True, False, False] for rank in ranks)
