"""The training steps that are timed: that they train, and that each side has its process."""

import os
from pathlib import Path

import pytest
import torch

from mutualvideo.benchmark.training_steps import Ours, Theirs, beside


@pytest.mark.slow
@pytest.mark.parametrize("side, kind", [(Ours, "mutual"), (Ours, "full"), (Theirs, "plain")])
def test_a_step_trains(side, kind):
    built = side(2, 4, 64)
    before = {name: weight.detach().clone() for name, weight in built.model.named_parameters()}
    built.step(kind)
    after = dict(built.model.named_parameters())
    same = {name for name in before if torch.equal(before[name], after[name])}
    # Blocks whose last BatchNorm begins at 0 hide what is within them, in PyTorchVideo's network.
    assert all("branch2" in name for name in same) if kind == "plain" else not same


class Noting:
    """Writes down who takes which step."""

    def __init__(self, path):
        self.path = path

    def step(self, kind):
        with open(self.path, "a") as file:
            file.write(f"{os.getpid()} {kind} {torch.get_num_threads()}\n")


@pytest.mark.slow
def test_steps_are_taken_in_another_process_and_waited_for(tmp_path):
    threads = torch.get_num_threads()
    with beside(Noting, (tmp_path / "steps",), True) as ask:
        ask("mutual")
        ask("full")
        first, second = Path(tmp_path / "steps").read_text().splitlines()
    process, *rest = first.split()
    assert rest == ["mutual", str(threads)] and second == f"{process} full {threads}"
    assert int(process) != os.getpid()


class Broken:
    def __init__(self):
        raise ValueError("no network")


@pytest.mark.slow
def test_a_side_that_cannot_be_built_ends_the_measurement():
    with pytest.raises(EOFError), beside(Broken, (), False):
        pass
