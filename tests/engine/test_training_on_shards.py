"""A training whose videos are members of tars: cut short after every step, it is the whole one."""

import pytest
import torch

from mutualvideo.engine.train import train
from mutualvideo.media.shards import write_index
from mutualvideo.models import read_checkpoint
from mutualvideo.run.checkpoint import newest_checkpoint
from mutualvideo.run.distributed import Context
from mutualvideo.run.log import setup_logging
from tests.engine.logged import stats_of
from tests.media.test_shards import pack

CPU = Context(torch.device("cpu"))
MULTIGRID = {
    "TRAIN__BATCH_SIZE": 2,
    "MULTIGRID__SHORT_CYCLE": True,
    "MULTIGRID__SHORT_CYCLE_FACTORS": [0.8, 0.9],
    "MULTIGRID__EPOCH_FACTOR": 1.0,
}


@pytest.fixture(scope="module")
def shards(video_folder, tmp_path_factory):
    """The eight videos, two in a tar."""
    folder = tmp_path_factory.mktemp("shards")
    for number in range(0, 8, 2):
        names = [f"{number}.mp4", f"{number + 1}.mp4"]
        write_index(
            pack(folder / f"{number}.tar", {n: (video_folder / n).read_bytes() for n in names})
        )
    lines = [f"{n - n % 2}.tar/{n}.mp4 {n % 2}\n" for n in range(8)]
    (folder / "train.csv").write_text("".join(lines))
    (folder / "val.csv").write_text("".join(lines[:4]))
    return folder


def run(cfg):
    setup_logging(cfg.OUTPUT_DIR, True)
    return train(cfg, CPU)


@pytest.mark.slow
@pytest.mark.parametrize("keys", [{}, MULTIGRID], ids=["plain", "multigrid"])
def test_a_run_goes_on_within_an_epoch(tiny, shards, tmp_path, keys):
    keys = {
        "DATA__PATH_TO_DATA_DIR": shards,
        "DATA__SAMPLER": "shards",
        "DATA__SHARD_WINDOW": 2,
        "SOLVER__MAX_EPOCH": 2,
        "MUTUAL__NUM_RANDOM": 0,
        **keys,
    }
    whole, cut = (tiny(OUTPUT_DIR=tmp_path / name, **keys) for name in ("whole", "cut"))
    run(whole)
    steps = [line for line in stats_of(whole) if line.get("role") == "full"]
    cut.TRAIN.TIME_LIMIT = 1e-9  # every start takes a step
    for _ in range(len(steps) - 1):
        assert run(cut) is None
    assert run(cut)
    mine, theirs = (read_checkpoint(newest_checkpoint(one.OUTPUT_DIR)) for one in (cut, whole))
    for name, tensor in theirs["model_state"].items():
        torch.testing.assert_close(mine["model_state"][name], tensor, rtol=0, atol=0)
