"""Released weights in networks: by name, strictly, or with all that was done to them listed."""

import functools

import pytest
import torch
import torchvision
from torch import nn

import mutualvideo
from mutualvideo import InputError, Subnet, calibrate, load_pretrained, set_subnet, slimmable
from mutualvideo.models import Loaded, build_model, load_weights
from mutualvideo.models.mobilenet import MobileNetV1, inverted_residual_rules
from mutualvideo.models.resnet2d import bottleneck2d_rules
from mutualvideo.models.weights.inflate import inflate
from tests.models.weights import mutualnet_twin
from tests.networks import make_cfg, randomize_norms

IMAGE = {
    "mobilenet_v1": (MobileNetV1, lambda network: {}),
    "mobilenet_v2": (
        functools.partial(torchvision.models.mobilenet_v2, dropout=0.0),
        inverted_residual_rules,
    ),
    "resnet50": (torchvision.models.resnet50, bottleneck2d_rules),
}


def slim(name, classes=10):
    build, rules = IMAGE[name]
    network = build(num_classes=classes)
    return slimmable(network, rules=rules(network))


def randomized(network):
    randomize_norms(network)
    return network.eval()


@pytest.fixture(scope="module")
def image_resnet50():
    torch.manual_seed(0)
    return randomized(torchvision.models.resnet50(num_classes=10))


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrappers_and_prefix(wrapper, prefix, tmp_path):
    torch.manual_seed(0)
    theirs = randomized(torchvision.models.mobilenet_v2(num_classes=10))
    state = {prefix + name: tensor for name, tensor in theirs.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "v2.pth")
    model = slim("mobilenet_v2").eval()
    assert load_pretrained(model, tmp_path / "v2.pth").format == "as is"
    picture = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(picture), theirs(picture), rtol=0, atol=1e-5)


def test_image_weights_in_the_slimmable_network(image_resnet50, tmp_path):
    torch.save(image_resnet50.state_dict(), tmp_path / "r50.pth")
    model = slim("resnet50").eval()
    loaded = load_pretrained(model, tmp_path / "r50.pth")
    assert loaded == Loaded("as is")
    picture = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(picture), image_resnet50(picture), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "name, classifier",
    [
        ("mobilenet_v1", "classifier"),
        ("mobilenet_v2", "classifier.1"),
        ("resnet50", "fc"),
    ],
)
def test_classifier_for_other_classes(name, classifier, tmp_path, caplog):
    torch.save(slim(name).state_dict(), tmp_path / "image.pth")
    model = slim(name, classes=7)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    message = f"image.pth: .* {classifier}.weight is .10, .* there .*; only training can"
    with pytest.raises(InputError, match=message):
        load_pretrained(model, tmp_path / "image.pth")
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    loaded = load_pretrained(model, tmp_path / "image.pth", replace_classifier=True)
    assert loaded.replaced == (f"{classifier}.weight", f"{classifier}.bias")
    for leaf in ("weight", "bias"):
        key = f"{classifier}.{leaf}"
        assert torch.equal(model.state_dict()[key], before[key])
        assert f"{key} not loaded, it is for other classes: 10 there, 7 here" in caplog.text
    file = torch.load(tmp_path / "image.pth")
    rest = model.state_dict().keys() - loaded.replaced
    assert all(torch.equal(model.state_dict()[key], file[key]) for key in rest)


class HeadFirst(nn.Module):
    """The classifier is a convolution, and registered before the body, whose last is linear."""

    def __init__(self, classes, inner=6):
        super().__init__()
        self.head = nn.Conv2d(8, classes, 1)
        self.body = nn.Conv2d(3, inner, 3)
        self.gate = nn.Linear(inner, 8)

    def forward(self, x):
        x = self.gate(self.body(x).movedim(1, -1)).movedim(-1, 1)
        return self.head(x).mean((2, 3))


def test_the_classifier_is_found_wherever_it_is():
    model = HeadFirst(5)
    loaded = load_weights(model, HeadFirst(3).state_dict(), "file", replace_classifier=True)
    assert loaded.replaced == ("head.weight", "head.bias")
    with pytest.raises(InputError, match="file: .*another architecture: body.weight is"):
        load_weights(model, HeadFirst(5, inner=4).state_dict(), "file", replace_classifier=True)
    with pytest.raises(InputError, match="file: .*another architecture: head.weight is"):
        load_weights(model, HeadFirst(3, inner=4).state_dict(), "file", replace_classifier=True)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: state.pop("conv1.weight"), "it has no conv1.weight"),
        (
            lambda state: state.update(more=torch.ones(1)),
            "it has more, which this network does not have",
        ),
        (lambda state: state.update({"bn1.bias": torch.ones(3)}), r"bn1.bias is \(3,\) there"),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_nothing_else_may_differ(image_resnet50, change, message, training):
    state = dict(image_resnet50.state_dict())
    change(state)
    model = torchvision.models.resnet50(num_classes=10)
    before = model.conv1.weight.clone()
    with pytest.raises(InputError, match=f"r50: belongs to another architecture: {message}"):
        load_weights(model, state, "r50", replace_classifier=training)
    assert torch.equal(model.conv1.weight, before)


def test_counters_of_batches_may_be_missing(image_resnet50):
    """torchvision's first ResNet-50 file is older than the counters."""
    state = {k: v for k, v in image_resnet50.state_dict().items() if "num_batches" not in k}
    loaded = load_weights(torchvision.models.resnet50(num_classes=10), state, "old")
    assert len(loaded.reset) == 53 and all("num_batches_tracked" in name for name in loaded.reset)
    assert not loaded.needs_calibration


def test_a_name_that_is_there_twice():
    state = {"s1.pathway0_stem.conv.weight": torch.ones(1), "blocks.0.conv.weight": torch.ones(1)}
    with pytest.raises(InputError, match="file: holds blocks.0.conv.weight twice, once under"):
        load_weights(build_model(make_cfg("ResNet")), state, "file")


# --- MutualNet's own files


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("name", IMAGE)
def test_mutualnets_files(name, prefix, tmp_path, caplog):
    torch.manual_seed(0)
    theirs = getattr(mutualnet_twin, name)(10)
    file = {prefix + key: tensor.clone() for key, tensor in theirs.state_dict().items()}
    torch.save({"model": file, "optimizer": {"state": {}}, "last_epoch": 3}, tmp_path / "m.pt")
    model = randomized(slim(name)).train()
    loaded = load_pretrained(model, tmp_path / "m.pt")
    assert loaded.format == "MutualNet" and not (loaded.inflated or loaded.replaced)
    # No statistics are loaded, be they of widths or of v2's one ordinary BatchNorm.
    buffers = {prefix + key for key, _ in theirs.named_buffers()}
    assert set(loaded.skipped) == buffers and loaded.needs_calibration
    assert set(loaded.reset) == {key for key, _ in model.named_buffers()}
    initial = IMAGE[name][0](num_classes=10)
    for key, buffer in model.named_buffers():
        assert torch.equal(buffer, initial.get_buffer(key)), key
    for key in (*loaded.skipped, "calibrate before evaluation"):
        assert key in caplog.text
    # Calibrated on one batch, both are the same network.
    pictures, subnet = torch.randn(4, 3, 64, 64), Subnet(1, None, 64)
    calibrate(model, [subnet], [pictures])
    set_subnet(model, subnet)
    with torch.no_grad():
        theirs.train()(pictures)
        wanted = theirs.eval()(pictures)
        assert (model.eval()(pictures) - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_mutualnets_classifier_may_be_replaced_and_its_networks_not_mixed_up():
    state = mutualnet_twin.mobilenet_v1(10).state_dict()
    loaded = load_weights(MobileNetV1(4), state, "v1", replace_classifier=True)
    assert loaded.replaced == ("classifier.weight", "classifier.bias")
    with pytest.raises(InputError, match="v1: belongs to another architecture"):
        load_weights(torchvision.models.mobilenet_v2(num_classes=10), state, "v1")


def test_new_weights_drop_calibrated_statistics(caplog):
    model = slimmable(MobileNetV1(4))
    subnet = Subnet(0.5, None, 32)
    calibrate(model, [subnet], [torch.randn(2, 3, 32, 32)])
    load_weights(model, MobileNetV1(4).state_dict(), "file")
    assert not mutualvideo.slim.is_calibrated(model, subnet)
    assert "statistics of the weights before are dropped" in caplog.text


# --- inflation


@pytest.mark.parametrize("frames", [1, 3, 5])
def test_an_inflated_convolution_is_the_2d_one_on_a_still_clip(frames):
    torch.manual_seed(0)
    flat = nn.Conv2d(3, 4, 3, 2, 1)
    solid = nn.Conv3d(3, 4, (frames, 3, 3), (1, 2, 2), (frames // 2, 1, 1))
    solid.load_state_dict({"weight": inflate(flat.weight, frames), "bias": flat.bias})
    picture = torch.randn(2, 3, 9, 9)
    with torch.no_grad():
        seen = solid(picture.unsqueeze(2).expand(-1, -1, 7, -1, -1))
        for time in range(frames // 2, 7 - frames // 2):
            torch.testing.assert_close(seen[:, :, time], flat(picture))


def test_image_resnet_in_slow(image_resnet50, tmp_path, caplog):
    torch.save(image_resnet50.state_dict(), tmp_path / "r50.pth")
    cfg = make_cfg("ResNet", MODEL__NUM_CLASSES=6)
    model = build_model(cfg)
    with pytest.raises(InputError, match="r50.pth: .*blocks.0.conv.*; only training can start"):
        load_pretrained(model, tmp_path / "r50.pth")
    loaded = load_pretrained(model, tmp_path / "r50.pth", replace_classifier=True)
    assert loaded.format == "torchvision ResNet" and not loaded.skipped
    assert set(loaded.replaced) == {"blocks.5.proj.weight", "blocks.5.proj.bias"}
    convolutions = [n for n, m in model.named_modules() if isinstance(m, nn.Conv3d)]
    assert set(loaded.inflated) == {f"{name}.weight" for name in convolutions}
    assert all(f"{name}.weight" in caplog.text for name in convolutions)

    model.eval()
    clip = torch.randn(1, 3, 4, 64, 64)
    still = clip[:, :, :1].expand(-1, -1, 4, -1, -1)
    with torch.no_grad():
        # Stem and the first two stages are spatial: each frame is a picture of its own.
        x, frames = clip, clip[0].movedim(1, 0)
        for number, layers in enumerate(
            [("conv1", "bn1", "relu", "maxpool"), ("layer1",), ("layer2",)]
        ):
            x = model.blocks[number](x)
            for layer in layers:
                frames = getattr(image_resnet50, layer)(frames)
            torch.testing.assert_close(x[0].movedim(1, 0), frames, rtol=1e-4, atol=1e-4)
        # Then temporal: the first block of stage 3, away from the ends of a clip at rest.
        x = model.blocks[2](model.blocks[1](model.blocks[0](still)))
        x = model.blocks[3].res_blocks[0](x)
        picture = image_resnet50.maxpool(
            image_resnet50.relu(image_resnet50.bn1(image_resnet50.conv1(clip[:, :, 0])))
        )
        picture = image_resnet50.layer3[0](image_resnet50.layer2(image_resnet50.layer1(picture)))
        for time in (1, 2):
            torch.testing.assert_close(x[:, :, time], picture, rtol=1e-4, atol=1e-4)


def test_mutualnets_resnet_in_slow():
    state = mutualnet_twin.resnet50(10).state_dict()
    model = build_model(make_cfg("ResNet", MODEL__NUM_CLASSES=10))
    loaded = load_weights(model, state, "m", replace_classifier=True)
    assert loaded.format == "MutualNet" and loaded.needs_calibration and not loaded.replaced
    kernel = model.get_parameter("blocks.4.res_blocks.0.branch2.conv_a.weight")
    # Block 14 of theirs is the first of the last stage; its temporal kernel has 3 frames.
    torch.testing.assert_close(kernel.sum(2), state["features.14.body.0.weight"])


@pytest.mark.parametrize("name", ["X3D", "SlowFast"])
def test_image_resnet_does_not_fit_other_video_networks(name, image_resnet50):
    with pytest.raises(InputError, match="r50: belongs to another architecture: it has no"):
        load_weights(build_model(make_cfg(name)), image_resnet50.state_dict(), "r50", True)
