"""Keys that save memory or time in training and change nothing else."""

from functools import partial

import pytest
import torch

from mutualvideo.engine.train import train
from mutualvideo.errors import InputError
from mutualvideo.models import read_checkpoint
from mutualvideo.mutual import compile_training
from mutualvideo.run.distributed import Context

CPU = Context(torch.device("cpu"))


def weights(cfg, directory):
    cfg.OUTPUT_DIR = str(directory)
    return read_checkpoint(train(cfg, CPU))["model_state"]


def test_activation_checkpointing_gives_the_same_weights(tiny, tmp_path):
    wanted = weights(tiny(SOLVER__MAX_EPOCH=1), tmp_path / "plain")
    found = weights(tiny(SOLVER__MAX_EPOCH=1, MODEL__ACT_CHECKPOINT=True), tmp_path / "again")
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_compiling_needs_the_widths(tiny):
    with pytest.raises(InputError, match="MUTUAL.WIDTHS is empty"):
        train(tiny(TRAIN__COMPILE=True, MUTUAL__WIDTHS=[]), CPU)


@pytest.mark.slow
def test_compiled_training_gives_the_same_weights(tiny, tmp_path, monkeypatch):
    torch._dynamo.reset()
    compiler = partial(compile_training, backend="aot_eager")
    monkeypatch.setattr("mutualvideo.engine.train.compile_training", compiler)
    keys = {"SOLVER__MAX_EPOCH": 2, "TRAIN__EVAL_PERIOD": 1, "MUTUAL__WIDTHS": [0.5]}
    keys |= {"X3D__DEPTH_FACTOR": 0.1, "MUTUAL__NUM_RANDOM": 0}  # tracing takes a time by the block
    keys |= {"SOLVER__BASE_LR": 1e-4, "MODEL__DROPOUT_RATE": 0, "MUTUAL__SIZES": [40]}
    wanted = weights(tiny(**keys), tmp_path / "plain")
    found = weights(tiny(**keys, TRAIN__COMPILE=True), tmp_path / "compiled")
    for name, tensor in found.items():
        if "running" in name or "weight" in name:
            assert (tensor - wanted[name]).norm() < 1e-3 * wanted[name].norm(), name
