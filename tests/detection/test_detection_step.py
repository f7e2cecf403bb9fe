import copy

import pytest
import torch

from mutualvideo import InputError, Subnet, set_subnet
from mutualvideo.detection import slimmable_detector
from mutualvideo.detection.detection_step import detection_step
from mutualvideo.detection.detector_costs import detector_costs
from mutualvideo.detection.imitation import imitation_of
from mutualvideo.mutual.sampler import SubnetSampler
from mutualvideo.mutual.step import Passes
from mutualvideo.slim.batch_norm_layers import batch_norms
from tests.detection.detectors import (
    build,
    counted,
    small_mask_rcnn,
    small_retinanet,
)

FULL, SAME, OTHER, WIDE = (Subnet.of(text) for text in ("1x64", "0.25x64", "0.5x32", "1x32"))


def scene(masks=False):
    """Two pictures of a bright square each, and where it is."""
    pictures, targets = [], []
    for number, (x, y) in enumerate(((8, 12), (28, 20)), 1):
        mask = torch.zeros(1, 64, 64, dtype=torch.uint8)
        mask[:, y : y + 24, x : x + 24] = 1
        pictures.append(0.3 + 0.6 * mask.expand(3, -1, -1).float())
        boxes = torch.tensor([[x, y, x + 24, y + 24]], dtype=torch.float32)
        targets.append({"boxes": boxes, "labels": torch.tensor([number])})
        if masks:
            targets[-1]["masks"] = mask
    return pictures, targets


@pytest.fixture(scope="module")
def untouched():
    model = slimmable_detector(small_retinanet())
    # Scores that tell anchors apart, as a trained detector's do.
    logits = model.head.classification_head.cls_logits
    torch.nn.init.normal_(logits.weight, std=0.1)
    torch.nn.init.zeros_(logits.bias)
    return model.train()


@pytest.fixture
def model(untouched):
    return copy.deepcopy(untouched)


def gradients(model):
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_the_full_network_learns_as_torchvisions(model):
    pictures, targets = scene()
    plain = small_retinanet().train()
    plain.load_state_dict(model.state_dict())
    loss = sum(plain(pictures, targets).values())
    loss.backward()
    (result,) = detection_step(model, pictures, targets, [FULL])
    assert result.subnet == FULL and result.loss.item() == pytest.approx(loss.item(), rel=1e-5)
    wanted = gradients(plain)
    assert wanted.keys() == gradients(model).keys()
    for name, mine in gradients(model).items():
        assert torch.allclose(mine, wanted[name], atol=1e-5, rtol=1e-3), name


@pytest.mark.parametrize("subnet", [SAME, OTHER, WIDE], ids=str)
def test_a_subnetwork_learns_from_labels_and_the_full_width(model, subnet):
    pictures, targets = scene()
    _, alone = detection_step(model, pictures, targets, [FULL, subnet], imitation=0)
    set_subnet(model, subnet)
    own = sum(model(pictures, targets).values())
    assert alone.loss.item() == pytest.approx(own.item(), rel=1e-5)
    _, taught = detection_step(model, pictures, targets, [FULL, subnet], imitation=1000)
    _, twice = detection_step(model, pictures, targets, [FULL, subnet], imitation=2000)
    distance = taught.loss - alone.loss
    if subnet == WIDE:  # it is the teacher at that size
        assert distance == 0
    else:
        assert distance > 0
        assert (twice.loss - alone.loss).item() == pytest.approx(2 * distance.item(), rel=1e-2)
    assert str(model.slim_state.subnet) == str(FULL)


def test_the_teacher_is_not_taught(model):
    """Imitation alone reaches the channels that the sub-network has, and no others."""
    pictures, targets = scene()
    before = []
    for imitation in (0, 1):
        model.zero_grad()
        detection_step(model, pictures, targets, [FULL, OTHER], imitation=imitation)
        before.append(model.backbone.body.layer2[0].conv1.weight.grad.clone())
    change = (before[1] - before[0]).abs().amax(dim=(1, 2, 3))
    assert change[:64].min() > 0 and change[64:].max() < 1e-6


def test_only_the_full_network_moves_statistics(untouched):
    pictures, targets = scene()
    moved = []
    for subnets in ([FULL], [FULL, SAME, OTHER]):
        model = copy.deepcopy(untouched)
        detection_step(model, pictures, targets, subnets)
        moved.append([norm.running_mean.clone() for _, norm in batch_norms(model)])
        assert all(norm.num_batches_tracked == 1 for _, norm in batch_norms(model))
    assert all(map(torch.equal, *moved))


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("columns", [4, 12])
def test_imitation(softmax, columns):
    generator = torch.Generator().manual_seed(0)
    scores, told = torch.randn(2, 50, 3, generator=generator)
    boxes, told_boxes = torch.randn(2, 50, columns, generator=generator)
    scores.requires_grad_()
    assert imitation_of(told, told_boxes, told, told_boxes, softmax).abs() < 1e-6
    imitation_of(scores, told_boxes, told, told_boxes, softmax).backward()
    assert scores.grad.abs().sum() > 0
    assert imitation_of(told, boxes, told, told_boxes, softmax) > 0
    nothing = imitation_of(scores[:0], boxes[:0], told[:0], told_boxes[:0], softmax)
    assert nothing == 0
    # What the teacher is sure to be background counts for nothing.
    background = torch.full((50, 3), -40.0)
    background[:, 0] = 40.0 if softmax else -40.0
    assert imitation_of(scores, boxes, background, told_boxes, softmax).abs() < 1e-6


@pytest.mark.slow
def test_losses_fall(model):
    pictures, targets = scene()
    sampler = SubnetSampler(FULL, "mutual", (0.25, 1.0), 0, [], [64, 48, 32], seed=0)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    losses = []
    for step in range(4):
        optimizer.zero_grad()
        results = detection_step(model, pictures, targets, sampler.draw(step))
        assert [result.subnet.width for result in results] == [1, 0.25]
        losses.append([result.loss.item() for result in results])
        optimizer.step()
    assert losses[-1][0] < 0.9 * losses[0][0] and losses[-1][1] < losses[0][1]


def small_ssdlite():
    model = build("SSDLite")
    model.transform.fixed_size = (128, 128)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("built", [small_mask_rcnn, small_ssdlite])
def test_other_detectors_learn(built):
    model = slimmable_detector(built()).train()
    full = model.slim_state.full
    subnets = [full, Subnet(0.25, None, full.size), Subnet(0.5, None, full.size // 2)]
    pictures, targets = scene(masks=built is small_mask_rcnn)
    optimizer = torch.optim.SGD(model.parameters(), 0.003)
    losses = []
    for _ in range(4):
        torch.manual_seed(0)  # the draw of proposals
        optimizer.zero_grad()
        results = detection_step(model, pictures, targets, subnets)
        losses.append([result.loss.item() for result in results])
        optimizer.step()
    assert all(last < first for first, last in zip(losses[0], losses[-1], strict=True)), losses


def test_a_detector_that_does_not_train(model):
    with pytest.raises(InputError, match=r"call model.train\(\) first"):
        detection_step(model.eval(), *scene(), [FULL])


def test_several_sizes_of_its_own_are_refused():
    model = slimmable_detector(small_retinanet(min_size=(48, 64))).train()
    with pytest.raises(InputError, match=r"draws one of the sizes \(48, 64\)"):
        detection_step(model, *scene(), [FULL])


@pytest.mark.parametrize("subnet", ["1x64", "0.5x64", "0.25x32"])
def test_costs_are_what_runs(model, subnet):
    model.eval()
    set_subnet(model, "0.3x40")
    for picture in ((64, 64), (40, 60)):
        costs = detector_costs(model, [subnet], picture)
        assert str(model.slim_state.subnet) == "0.3x40"
        set_subnet(model, subnet)
        assert costs[Subnet.of(subnet)].macs == counted(model, [torch.rand(3, *picture)])
        set_subnet(model, "0.3x40")
    assert detector_costs(model, ["1x64"])[FULL].params == sum(
        p.numel() for p in model.parameters()
    )


def test_losses_are_weighted_and_scaled_but_told_as_they_are(model):
    pictures, targets = scene()
    plain = detection_step(model, pictures, targets, [FULL, SAME], imitation=0)
    added = gradients(model)
    model.zero_grad()
    detection_step(model, pictures, targets, [FULL], imitation=0)
    of_full = gradients(model)
    model.zero_grad()
    passes = Passes(scale=lambda loss: 8 * loss)
    step = detection_step(model, pictures, targets, [FULL, SAME], 0, passes, weights=[1, 0.25])
    assert [one.loss.item() for one in step] == pytest.approx([one.loss.item() for one in plain])
    for name, found in gradients(model).items():
        wanted = 8 * (of_full[name] + 0.25 * (added[name] - of_full[name]))
        assert torch.allclose(found, wanted, atol=1e-4, rtol=1e-3), name


def test_half_precision_is_near_and_its_losses_are_float32(model):
    pictures, targets = scene()
    whole = detection_step(model, pictures, targets, [FULL, OTHER])
    half = detection_step(
        model, pictures, targets, [FULL, OTHER], passes=Passes(precision=torch.bfloat16)
    )
    for mine, theirs in zip(half, whole, strict=True):
        assert mine.loss.dtype == torch.float32
        assert mine.loss.item() == pytest.approx(theirs.loss.item(), rel=0.1)


def test_a_loss_that_is_infinite_makes_gradients_nan(model):
    pictures, targets = scene()
    detection_step(model, pictures, targets, [FULL], passes=Passes(scale=lambda one: one / 0))
    assert all(grad.isnan().any() or grad.isinf().any() for grad in gradients(model).values())
