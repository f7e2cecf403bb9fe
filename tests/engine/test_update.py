"""Steps of the optimiser: what they change, and what they leave alone when something is wrong."""

import contextlib
import copy
import math
from unittest import mock

import pytest
import torch
from torch import nn

from mutualvideo.engine.update import Updater
from mutualvideo.errors import InputError
from mutualvideo.models import build_model, full_subnet
from mutualvideo.mutual import mutual_step
from mutualvideo.slim import slimmable
from mutualvideo.subnet import Subnet

CPU = torch.device("cpu")
PUPIL = Subnet(0.5, 2, 32)


@pytest.fixture
def make(tiny):
    """An :class:`Updater` of a small X3D, the sub-networks of a step, and a batch."""

    def build(**changes):
        cfg = tiny(MODEL__DROPOUT_RATE=0, **changes)
        torch.manual_seed(0)
        model = build_model(cfg).train()
        generator = torch.Generator().manual_seed(1)
        clips = torch.randn(4, 3, 4, 40, 40, generator=generator)
        return Updater(cfg, CPU, model), [full_subnet(cfg), PUPIL], clips, torch.arange(4) % 2

    return build


def everything(updater):
    """Copies of all that a step may change."""
    parts = [updater.model.state_dict(), updater.optimizer.state_dict()["state"]]
    if updater.ema is not None:
        parts.append(updater.ema.state_dict())
    return copy.deepcopy(parts)


def check_equal(found, wanted):
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine:
            torch.testing.assert_close(mine[name], theirs[name], rtol=0, atol=0)


def poison(updater, subnet, value):
    """Makes scores of ``subnet`` alone ``value``."""

    def hook(model, args, scores):
        state = model.slim_state
        return scores + value if state.subnet == subnet else scores

    return updater.model.register_forward_hook(hook)


@pytest.mark.parametrize("clip", [0.0, 0.01])
def test_a_step_is_that_of_sgd(make, clip):
    updater, subnets, clips, labels = make(SOLVER__CLIP_GRAD_L2NORM=clip)
    plain = copy.deepcopy(updater.model)
    optimizer = torch.optim.SGD(plain.parameters(), 0.05, 0.9, nesterov=True)
    for group in updater.optimizer.param_groups:
        group["weight_decay"] = 0
    for _ in range(3):
        optimizer.zero_grad()
        mutual_step(plain, clips, labels, subnets)
        if clip:
            torch.nn.utils.clip_grad_norm_(plain.parameters(), clip)
        optimizer.step()
        assert updater(clips, labels, subnets, 0.0, 0.05).fault is None
    check_equal([updater.model.state_dict()], [plain.state_dict()])


@pytest.mark.parametrize("culprit", ["full", "pupil"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("precision", [None, "float16"])
def test_a_loss_that_is_not_finite_changes_nothing(make, culprit, value, precision):
    updater, subnets, clips, labels = make(
        TRAIN__EMA_DECAY=0.5,
        TRAIN__MIXED_PRECISION=precision is not None,
        TRAIN__PRECISION=precision or "bfloat16",
    )
    updater.scaler = torch.amp.GradScaler("cpu", init_scale=128.0, enabled=precision is not None)
    assert updater(clips, labels, subnets, 0.0, 0.01).fault is None
    before = everything(updater)
    subnet = subnets[culprit == "pupil"]
    handle = poison(updater, subnet, value)
    done = updater(clips, labels, subnets, 0.0, 0.01)
    assert f"the loss of {subnet} is nan" in done.fault
    if culprit == "pupil":
        assert str(subnets[0]) not in done.fault
    check_equal(everything(updater), before)
    handle.remove()
    assert updater(clips, labels, subnets, 0.0, 0.01).fault is None
    assert not torch.equal(
        updater.model.state_dict()["blocks.0.conv.conv_t.weight"],
        before[0]["blocks.0.conv.conv_t.weight"],
    )


def test_gradients_that_are_not_finite_change_nothing(make):
    updater, subnets, clips, labels = make()
    updater(clips, labels, subnets, 0.0, 0.01)
    before = everything(updater)
    updater.model.blocks[0].conv.conv_t.weight.register_hook(lambda grad: grad / 0)
    assert updater(clips, labels, subnets, 0.0, 0.01).fault == (
        "the gradients are not finite, all losses are"
    )
    check_equal(everything(updater), before)


class OwnNorm(nn.Module):
    """A norm that puts another tensor in the place of its statistics."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean((0, 2, 3, 4))
        return (x - self.mean.view(1, -1, 1, 1, 1)) * self.weight.view(1, -1, 1, 1, 1)


def test_a_bad_step_leaves_statistics_that_are_replaced(tiny):
    cfg = tiny(MODEL__DROPOUT_RATE=0)
    layers = [nn.Conv3d(3, 8, 1), OwnNorm(), nn.AdaptiveAvgPool3d(1), nn.Flatten()]
    full = full_subnet(cfg)
    model = slimmable(nn.Sequential(*layers, nn.Linear(8, 2)), (0.5, 1), full=full).train()
    updater = Updater(cfg, CPU, model)
    clips, subnets = torch.randn(4, 3, 4, 40, 40), [full, PUPIL]
    for _ in range(2):
        assert updater(clips, torch.arange(4) % 2, subnets, 0.0, 0.01).fault is None
    before = everything(updater)
    assert updater(clips * math.nan, torch.arange(4) % 2, subnets, 0.0, 0.01).fault is not None
    check_equal(everything(updater), before)
    assert before[0]["1.mean"].abs().sum() > 0


def test_bfloat16_on_a_cpu_is_warned_of(make, caplog):
    make(TRAIN__MIXED_PRECISION=True, TRAIN__PRECISION="float16")
    assert "oneDNN" not in caplog.text
    make(TRAIN__MIXED_PRECISION=True, TRAIN__PRECISION="bfloat16")
    assert "oneDNN" in caplog.text


def test_bfloat16_is_refused_on_a_gpu_that_has_none(tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100")
    has = mock.Mock(return_value=True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", has)
    cfg, gpu = tiny(TRAIN__MIXED_PRECISION=True), torch.device("cuda")
    Updater(cfg, gpu, build_model(cfg))
    # Otherwise torch says yes where it emulates.
    has.assert_called_once_with(including_emulation=False)
    has.return_value = False
    with pytest.raises(InputError, match="Tesla V100 has none; set TRAIN.PRECISION float16"):
        Updater(cfg, gpu, build_model(cfg))


def test_an_overflow_in_float16_lowers_the_scale_and_is_no_fault(make):
    updater, subnets, clips, labels = make(
        TRAIN__MIXED_PRECISION=True, TRAIN__PRECISION="float16", TRAIN__EMA_DECAY=0.5
    )
    updater.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**30)
    weights = [p.detach().clone() for p in updater.model.parameters()]
    done = updater(clips, labels, subnets, 0.0, 0.01)
    assert done.fault is None and all(r.loss.isfinite() for r in done.results)
    assert updater.scaler.get_scale() == 2.0**29
    for mine, before in zip(updater.model.parameters(), weights, strict=True):
        torch.testing.assert_close(mine, before, rtol=0, atol=0)
    assert updater.ema.n_averaged == 0 and not updater.optimizer.state_dict()["state"]
    for _ in range(30):
        assert updater(clips, labels, subnets, 0.0, 0.01).fault is None
    assert updater.ema.n_averaged > 0


def test_gradients_that_never_fit_into_float16_are_a_fault(make):
    updater, subnets, clips, labels = make(TRAIN__MIXED_PRECISION=True, TRAIN__PRECISION="float16")
    updater.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    updater.model.blocks[0].conv.conv_t.weight.register_hook(lambda grad: grad / 0)
    faults = [updater(clips, labels, subnets, 0.0, 0.01).fault for _ in range(3)]
    assert faults == [None, None, "the gradients are not finite, all losses are"]


def test_the_moving_average(make):
    updater, subnets, clips, labels = make(TRAIN__EMA_DECAY=0.75)
    wanted = None
    for _ in range(4):
        updater(clips, labels, subnets, 0.0, 0.05)
        now = [p.detach().double() for p in updater.model.parameters()]
        if wanted is None:
            wanted = now
        else:
            wanted = [0.75 * old + 0.25 * new for old, new in zip(wanted, now, strict=True)]
    for mine, exact in zip(updater.ema.parameters(), wanted, strict=True):
        torch.testing.assert_close(mine.double(), exact, rtol=1e-5, atol=1e-7)
    for mine, theirs in zip(updater.ema.module.buffers(), updater.model.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"TRAIN__EMA_DECAY": 1.0}, "TRAIN.EMA_DECAY must be from 0 to below 1, not 1.0"),
        ({"TEST__EMA": True}, "TEST.EMA: there is no moving average to evaluate"),
        ({"TRAIN__PRECISION": "float8"}, "TRAIN.PRECISION float8: choose one of bfloat16, float16"),
    ],
)
def test_bad_settings(make, change, words):
    with pytest.raises(InputError, match=words):
        make(**change)
