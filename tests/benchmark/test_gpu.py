"""The benchmark of a GPU, where there is none: that it runs, and says that it measured nothing."""

import itertools
import json
import sys
from dataclasses import replace

import pytest
import torch
from pytorchvideo.models import resnet

from mutualvideo.benchmark import gpu_depthwise, gpu_figures, gpu_setup
from mutualvideo.config import load_cfg
from tests.tools.test_run_net import load_tool


def test_depthwise_layers_of_x3d_m():
    layers = gpu_depthwise.depthwise_layers(gpu_setup.ON_GPU)
    # 3 + 5 + 11 + 7 blocks (arXiv 2004.04730, table 3, times a depth of 2.2), inner channels
    # 2.25 times the block's.
    assert sum(count for *_, count in layers) == 26
    first, last = layers[0], layers[-1]
    assert first == ((16, 54, 16, 112, 112), (54, 1, 3, 3, 3), (1, 2, 2), 1)
    assert last == ((16, 432, 16, 7, 7), (432, 1, 3, 3, 3), (1, 1, 1), 6)


def test_backward_of_a_depthwise_convolution_is_autograds():
    x = torch.randn(2, 4, 3, 6, 6, requires_grad=True)
    w = torch.randn(4, 1, 3, 3, 3, requires_grad=True)
    torch.manual_seed(0)
    with torch.no_grad():
        y, runs = gpu_depthwise.directions(x, w, (1, 2, 2), (1, 1, 1))
        found = runs["backward"]()
    torch.manual_seed(0)
    wanted = torch.autograd.grad(runs["forward"](), [x, w], torch.randn_like(y))
    for mine, theirs in zip(found, wanted, strict=False):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_after_its_minutes_it_begins_nothing_and_what_fails_is_named(monkeypatch, capsys):
    def fails():
        raise torch.OutOfMemoryError("no room\nfor it")

    clock = iter(range(0, 600, 60))
    monkeypatch.setattr(gpu_figures.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(
        gpu_figures,
        "_all",
        lambda device, size: [("a", fails), ("b", lambda: {"b": {"ms": 1.23456}}), ("c", fails)],
    )
    found = gpu_figures.measure(minutes=2)
    out = capsys.readouterr().out
    assert list(found.values()) == [{"ms": 1.235}]
    assert "a: failed, no room\n" in out and "left out after 2 minutes: c" in out


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="measures the GPU, which takes minutes")
@pytest.mark.filterwarnings("ignore")
def test_without_a_gpu_it_runs_and_says_so(monkeypatch, capsys):
    # A step of two passes, not four, and a block a stage: each is traced in every graph.
    monkeypatch.setattr(gpu_figures, "TINY", replace(gpu_setup.TINY, depth=0.1))
    monkeypatch.setitem(resnet._MODEL_STAGE_DEPTH, 50, (1, 1, 1, 1))
    monkeypatch.setattr(
        gpu_setup, "load_cfg", lambda path, opts: load_cfg(path, [*opts, "MUTUAL.NUM_RANDOM", "0"])
    )
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "gpu"])
    load_tool("benchmark").main()
    out = capsys.readouterr().out
    assert "no GPU." in out and "NO figures of a GPU" in out
    found = json.loads(out.split("json_bench: ")[1])
    assert all(name.startswith("tiny, CPU: ") for name in found)
    assert all(out.count(f"\n{name}: ") == 1 for name in found)
    names = {name.removeprefix("tiny, CPU: ") for name in found}
    for network in ("X3D-M", "X3D-S", "Slow 8x8", "SlowFast 4x16"):
        for variant in (
            "PyTorchVideo fp32 default layout",
            "PyTorchVideo bf16 default layout",
            "ours single bf16",
            "ours mutual bf16",
        ):
            assert f"{network} {variant}" in names
    for network, mode in itertools.product(("X3D-M", "Slow 8x8"), ("single", "mutual")):
        assert f"{network} ours {mode} bf16 compiled" in names
    assert "X3D-M multigrid schedule / plain schedule" in names
    assert "failed" not in out
    assert {"X3D-M clip 1x4x32 torch", "X3D-M clip 0.63x4x32 torch"} <= names
    assert sum(name.endswith(("forward", "backward")) for name in names) >= 8
    assert "X3D-M depthwise convolutions of a step" in names
