"""One mutual step, against its definition written with autograd on extracted networks."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mutualvideo.errors import InputError
from mutualvideo.mutual import (
    Passes,
    PassResult,
    mutual_step,
    not_finite,
)
from mutualvideo.slim import resample_clip, set_subnet, slimmable
from mutualvideo.subnet import Subnet

FULL = Subnet(1, 4, 16)
SUBNETS = [FULL, Subnet(0.5, 2, 8), Subnet(0.75, 4, 8)]


def network(norm=True):
    torch.manual_seed(0)
    layers = [nn.Conv3d(3, 16, 3, padding=1), nn.BatchNorm3d(16) if norm else nn.Identity()]
    layers += [nn.ReLU(), nn.Conv3d(16, 16, 3, padding=1, groups=16), nn.Conv3d(16, 32, 1)]
    layers += [nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(32, 5)]
    return slimmable(nn.Sequential(*layers), (0.5, 1), full=FULL).train()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    clips = torch.randn(6, 3, 4, 16, 16, generator=generator)
    return clips, torch.randint(0, 5, (6,), generator=generator)


def test_gradients_are_the_sum_over_subnetworks(batch):
    clips, labels = batch
    model = network()
    sliced = copy.deepcopy(model)
    results = mutual_step(model, clips, labels, SUBNETS, label_smoothing=0.1)

    # All losses in one graph, one backward, float64, teacher detached by hand.
    sliced.double()
    losses, teacher = [], None
    for subnet in SUBNETS:
        set_subnet(sliced, subnet)
        logits = sliced(resample_clip(clips.double(), subnet.frames, subnet.size))
        if teacher is None:
            losses.append(F.cross_entropy(logits, labels, label_smoothing=0.1))
            teacher = logits.detach().softmax(1)
        else:
            losses.append((teacher * (teacher.log() - logits.log_softmax(1))).sum(1).mean())
    torch.stack(losses).sum().backward()
    for result, loss in zip(results, losses, strict=True):
        torch.testing.assert_close(result.loss.double(), loss.detach(), rtol=1e-5, atol=1e-6)
    for mine, exact in zip(model.parameters(), sliced.parameters(), strict=True):
        torch.testing.assert_close(mine.grad.double(), exact.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("first", [FULL, Subnet(1, 2, 8)])
def test_the_first_sub_network_moves_running_statistics_whether_full_is_told_or_not(batch, first):
    clips, labels = batch
    told, untold = network(), network()
    untold.slim_state.full = None
    plain = copy.deepcopy(untold)
    for model in (told, untold):
        mutual_step(model, clips, labels, [first, *SUBNETS[1:]])
    plain.train()(resample_clip(clips, first.frames, first.size))  # of width 1 and no sub-network
    for model in (told, untold):
        assert model[1].num_batches_tracked == 1
        torch.testing.assert_close(model[1].running_mean, plain[1].running_mean)
        torch.testing.assert_close(model[1].running_var, plain[1].running_var)
    assert told.slim_state.full == FULL and untold.slim_state.full is None


def test_only_the_widest_teaches_and_text_names_sub_networks(batch):
    clips, labels = batch
    with pytest.raises(InputError, match="must be at the widest width, 1, not 0.5x2x8"):
        mutual_step(network(), clips, labels, [SUBNETS[1], FULL])
    one, other = network(), network()
    results = mutual_step(one, clips, labels, [str(subnet) for subnet in SUBNETS])
    wanted = mutual_step(other, clips, labels, SUBNETS)
    assert [r.subnet for r in results] == SUBNETS
    assert [float(r.loss) for r in results] == [float(r.loss) for r in wanted]


def test_teacher_gets_no_gradient_from_its_pupils(batch):
    clips, labels = batch
    alone, taught = network(norm=False), network(norm=False)
    mutual_step(alone, clips, labels, SUBNETS[:1])
    mutual_step(taught, clips, labels, SUBNETS)
    # The narrowest pupils use channels 0..23 of the last convolution; the rest is the
    # full network's alone.
    rest = slice(24, None)
    torch.testing.assert_close(taught[4].weight.grad[rest], alone[4].weight.grad[rest])
    assert not torch.allclose(taught[4].weight.grad[:16], alone[4].weight.grad[:16])


def test_leaves_the_full_network_and_its_statistics(batch):
    clips, labels = batch
    model, plain = network(), network()
    mutual_step(model, clips, labels, SUBNETS)
    plain(clips)
    assert model.slim_state.subnet == FULL
    torch.testing.assert_close(model[1].running_mean, plain[1].running_mean)
    torch.testing.assert_close(model[1].running_var, plain[1].running_var)


def test_counts_correct_answers(batch):
    clips, _ = batch
    model = network()
    with torch.no_grad():
        labels = copy.deepcopy(model)(clips).argmax(1)
    assert mutual_step(model, clips, labels, SUBNETS)[0].correct == 6


def test_labels_as_shares_are_the_same_labels(batch):
    clips, labels = batch
    hard, soft = network(), network()
    shares = F.one_hot(labels, 5).float()
    wanted = mutual_step(hard, clips, labels, SUBNETS, label_smoothing=0.1)
    found = mutual_step(soft, clips, shares, SUBNETS, label_smoothing=0.1)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.loss, other.loss)
        assert one.correct == other.correct
    for one, other in zip(soft.parameters(), hard.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_mixed_targets(batch):
    clips, _ = batch
    model = network()
    with torch.no_grad():
        answer = copy.deepcopy(model)(clips).double()
    best = answer.argmax(1)
    targets = 0.7 * F.one_hot(best, 5) + 0.3 * F.one_hot(best.flip(0), 5)
    targets[0] = targets[0].roll(1)  # the largest share is another class's
    result = mutual_step(model, clips, targets.float(), SUBNETS)[0]
    wanted = -(targets.double() * answer.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(result.loss.double(), wanted, rtol=1e-5, atol=1e-6)
    assert result.correct == 5


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_losses_that_are_not_finite_are_found(value):
    results = [
        PassResult(s, torch.tensor(v), torch.tensor(0))
        for s, v in zip(SUBNETS, (1.0, value, 1.0), strict=True)
    ]
    assert [result.subnet for result in not_finite(results)] == [SUBNETS[1]]


def test_an_infinite_loss_makes_gradients_nan(batch):
    """Those of the cross-entropy itself are finite: the shares less one."""
    clips, labels = batch
    model = network()
    with torch.no_grad():
        model[-1].bias.copy_(torch.tensor([-torch.inf, 0, 0, 0, 0]))
    labels[0] = 0
    results = mutual_step(model, clips, labels, SUBNETS[:1])
    assert results[0].loss == torch.inf
    assert model[-1].bias.grad.isnan().all()


def test_parts_add_up_to_the_whole(batch):
    clips, labels = batch
    whole, parts = network(norm=False), network(norm=False)
    wanted = mutual_step(whole, clips, labels, SUBNETS, 0.1)
    found = mutual_step(parts, clips, labels, SUBNETS, 0.1, Passes(parts=4))  # of 2, 2, 1, 1
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.loss, other.loss)
        assert one.subnet == other.subnet and one.correct == other.correct
    for one, other in zip(parts.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("parts", [0, 7])
def test_more_parts_than_clips(batch, parts):
    with pytest.raises(InputError, match=f"TRAIN.MICRO_BATCHES {parts}: a process has 6 clips"):
        mutual_step(network(), *batch, SUBNETS, passes=Passes(parts=parts))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_computes_losses_in_float32(batch, dtype):
    clips, labels = batch
    exact, half = network(norm=False), network(norm=False)
    seen = set()
    half[3].register_forward_hook(lambda module, args, out: seen.add(out.dtype))
    # Clips of 2x8x8 would not do: of them oneDNN's weight gradient in bfloat16 reads memory that
    # nobody wrote, on an AMD EPYC.
    subnets = [FULL, Subnet(0.5, 4, 16), Subnet(0.75, 4, 16)]
    passes = Passes(precision=dtype, scale=lambda loss: 1024 * loss)
    wanted = mutual_step(exact, clips, labels, subnets)
    found = mutual_step(half, clips, labels, subnets, passes=passes)
    assert seen == {dtype}
    for one, other in zip(found, wanted, strict=True):
        assert one.loss.dtype == torch.float32
        # 8 and 11 bits of mantissa.
        torch.testing.assert_close(one.loss, other.loss, rtol=0.02, atol=2e-3)
    for one, other in zip(half.parameters(), exact.parameters(), strict=True):
        assert one.grad.dtype == torch.float32
        error = (one.grad / 1024 - other.grad).norm() / other.grad.norm()
        assert error < 0.05
