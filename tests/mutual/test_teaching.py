"""How sub-networks learn, against the definitions written out in float64."""

import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence
from torch.nn import functional as F

from mutualvideo.errors import InputError
from mutualvideo.mutual import Teaching, distillation_loss


@pytest.fixture
def answers():
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(6, 5, generator=generator, requires_grad=True)
    return student, 2 * torch.randn(6, 5, generator=generator)


def test_distillation_loss_is_the_kl_divergence():
    torch.manual_seed(0)
    student, teacher = torch.randn(4, 7), torch.randn(4, 7).softmax(1)
    p, q = teacher.double(), student.double().softmax(1)
    wanted = (p * (p.log() - q.log())).sum(1).mean()
    torch.testing.assert_close(distillation_loss(student, teacher).double(), wanted)
    assert distillation_loss(teacher.log(), teacher).abs() < 1e-6


@pytest.mark.parametrize("labels", [0.0, 0.25, 1.0])
def test_share_of_the_labels(answers, labels):
    student, teacher = answers
    targets = torch.arange(6) % 5
    teaching = Teaching(labels=labels)
    found = teaching.loss(student, teaching.answer(teacher), targets, 0.1)
    p, log_q = teacher.double().softmax(1), student.double().log_softmax(1)
    taught = (p * (p.log() - log_q)).sum(1).mean()
    told = F.cross_entropy(student.double(), targets, label_smoothing=0.1)
    wanted = (1 - labels) * taught + labels * told
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wrong", [-0.1, 1.5, float("nan")])
def test_what_is_out_of_bounds_is_refused(wrong):
    with pytest.raises(InputError, match="MUTUAL.LABEL_SHARE must be from 0 to 1"):
        Teaching(labels=wrong)


def test_with_several_labels_every_class_is_a_question_of_its_own():
    generator = torch.Generator().manual_seed(0)
    logits, teacher = (torch.randn(5, 4, generator=generator, requires_grad=True) for _ in "ab")
    teaching = Teaching(multi_label=True)
    found = teaching.loss(logits, teaching.answer(teacher), None)
    p, q = (Bernoulli(logits=one.double()) for one in (teacher, logits))
    wanted = kl_divergence(p, q).mean()
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    (own,) = torch.autograd.grad(found, logits)
    (theirs,) = torch.autograd.grad(wanted, logits)
    torch.testing.assert_close(own, theirs.float(), atol=1e-6, rtol=1e-4)
    assert teaching.loss(teacher, teaching.answer(teacher), None).item() == pytest.approx(
        0, abs=1e-6
    )


def test_labels_there_are_marked_and_smoothed():
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.0]])
    marks = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    p = logits.double().sigmoid()
    smooth = marks.double() * 0.8 + 0.1
    wanted = -(smooth * p.log() + (1 - smooth) * (1 - p).log()).mean()
    teaching = Teaching(multi_label=True)
    assert teaching.told(logits, marks, 0.2).item() == pytest.approx(wanted.item(), rel=1e-6)
    assert teaching.correct(logits, marks).item() == 2
    assert teaching.correct(logits, 1 - marks).item() == 0


def test_weights_of_classes_count_in_every_part_alike():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 3, generator=generator)
    targets = torch.tensor([0, 2, 1, 0, 0, 2])
    weights = torch.tensor([0.5, 2.0, 1.0])
    teaching = Teaching(class_weights=weights)
    losses = -logits.double().log_softmax(1)[range(6), targets] * weights.double()[targets]
    assert teaching.told(logits, targets).item() == pytest.approx(losses.mean().item(), rel=1e-6)
    parts = [teaching.told(logits[i : i + 2], targets[i : i + 2]) for i in (0, 2, 4)]
    assert sum(parts).item() / 3 == pytest.approx(losses.mean().item(), rel=1e-6)
    shares = torch.nn.functional.one_hot(targets, 3).float()
    assert teaching.told(logits, shares).item() == pytest.approx(losses.mean().item(), rel=1e-6)
