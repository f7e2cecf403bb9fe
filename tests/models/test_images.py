"""The registered image networks: multiply-adds of MutualNet's tables and of the papers."""

import functools

import pytest
import torch
from torchvision.models import mobilenet_v2, resnet18, resnet50

from mutualvideo.errors import InputError
from mutualvideo.models import build_model, load_pretrained, require_runnable
from mutualvideo.slim import count_costs, count_macs
from mutualvideo.subnet import Subnet
from tests.networks import make_cfg, randomize_norms

# width-size: whole MMACs, of the query tables in the README of the authors' repository.
TABLES = {
    "MobileNetV1": """
1.0-224 569, 0.95-224 518, 0.9-224 466, 1.0-192 418, 0.95-192 380, 0.9-192 342, 0.85-192 309,
0.8-192 269, 0.75-192 239, 0.85-160 215, 0.8-160 187, 0.75-160 166, 0.7-160 146, 0.65-160 127,
0.6-160 111, 0.5-160 76, 0.45-160 63, 0.35-160 41, 0.25-192 30, 0.25-160 21, 0.25-128 13
""",
    "MobileNetV2": """
1.0-224 300, 0.95-224 284, 0.9-224 269, 0.85-224 254, 1.0-192 221, 0.95-192 209, 0.9-192 198,
0.85-192 187, 0.8-192 164, 0.75-192 154, 0.7-192 128, 0.75-160 107, 0.7-160 89, 0.85-128 84,
0.7-128 57
""",
}
ROWS = [
    (name, f"{float(row.split('-')[0]):g}x{row.split('-')[1].split()[0]}", int(row.split()[1]))
    for name, table in TABLES.items() for row in table.split(",")
]  # fmt: skip
IMAGENET = {
    "MODEL__NUM_CLASSES": 1000,
    "DATA__TRAIN_CROP_SIZE": 224,
    "MUTUAL__WIDTH_RANGE": [0.25, 1.0],
}


@functools.cache
def built(name):
    return build_model(make_cfg(name, **IMAGENET))


def test_all_rows_of_the_tables_are_tested():
    assert len(ROWS) == len(set(ROWS)) == 36


@pytest.mark.parametrize("name, subnet, mmacs", ROWS)
def test_the_authors_query_tables(name, subnet, mmacs):
    # The tables round some rows to the nearest and cut the others.
    assert abs(count_macs(built(name), Subnet.parse(subnet)) / 1e6 - mmacs) < 1


# network, settings, sub-network, GMACs, million parameters.
PUBLISHED = [
    # The README of MutualNet's repository: w=1.6, r=1.3; 1.3 times 224 pixels, as a multiple of 32.
    ("MobileNetV1", {"MOBILENET__WIDTH_FACTOR": 1.6}, "1x288", 2.3, None),
    # Tables of torchvision's documentation.
    ("MobileNetV2", {"MOBILENET__WIDTH_FACTOR": 1.0}, "1x224", 0.30, 3.50),
    ("ImageResNet", {"RESNET__DEPTH": 18}, "1x224", 1.81, 11.69),
    ("ImageResNet", {"RESNET__DEPTH": 50}, "1x224", 4.09, 25.56),
    ("ImageResNet", {}, "0.9x224", 3.33797, None),
    ("ImageResNet", {}, "0.75x224", 2.32268, None),
    ("ImageResNet", {}, "0.5x224", 1.05231, None),
]
# Table 4 of arXiv 1605.07146: depth, factor, million parameters.
WIDE = [(16, 8, 11.0), (22, 8, 17.2), (28, 10, 36.5), (28, 12, 52.5), (40, 4, 8.9)]


@pytest.mark.parametrize("name, settings, subnet, gmacs, params", PUBLISHED)
def test_published_costs(name, settings, subnet, gmacs, params):
    subnet = Subnet.parse(subnet)
    costs = count_costs(build_model(make_cfg(name, **{**IMAGENET, **settings})), [subnet])[subnet]
    digits = len(str(gmacs).partition(".")[2])
    assert costs.macs / 1e9 == pytest.approx(gmacs, abs=10**-digits)
    assert params is None or costs.params / 1e6 == pytest.approx(params, abs=0.006)


@pytest.mark.parametrize("depth, widen, params", WIDE)
def test_wide_resnets_are_the_papers(depth, widen, params):
    cfg = make_cfg(
        "WideResNet", WIDERESNET__DEPTH=depth, WIDERESNET__WIDEN_FACTOR=widen,
        MODEL__NUM_CLASSES=10, DATA__TRAIN_CROP_SIZE=32,
    )  # fmt: skip
    with torch.device("meta"):
        model = build_model(cfg)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(params, abs=0.06)
    # Two stages halve the picture: the last map of 32 pixels has 8, of 20 it has 5.
    seen = []
    model.norm.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[-1]))
    for size in (32, 20):
        require_runnable(cfg, Subnet(0.9, None, size), "TABLE")
        model(torch.empty(1, 3, size, size, device="meta"))
    assert seen == [8, 5]


@pytest.mark.parametrize("name, settings, build", [
    ("MobileNetV2", {"MODEL__DROPOUT_RATE": 0.2}, mobilenet_v2),
    ("ImageResNet", {"RESNET__DEPTH": 50}, resnet50),
    ("ImageResNet", {"RESNET__DEPTH": 18}, resnet18),
])  # fmt: skip
def test_torchvisions_files_warm_start_by_name(name, settings, build, tmp_path):
    torch.manual_seed(0)
    theirs = build(num_classes=1000).eval()
    randomize_norms(theirs)
    torch.save(theirs.state_dict(), tmp_path / "torchvision.pth")
    model = build_model(make_cfg(name, **{**IMAGENET, **settings})).eval()
    loaded = load_pretrained(model, tmp_path / "torchvision.pth", replace_classifier=True)
    assert loaded.format == "as is" and not loaded.replaced and not loaded.reset
    picture = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(picture), theirs(picture), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name, changes, message", [
    ("MobileNetV1", {"MODEL__ARCH": "x3d"}, "set it to 2d"),
    ("X3D", {"MODEL__ARCH": "2d"}, "set it to x3d"),
    ("MobileNetV1", {"MODEL__DROPOUT_RATE": 0.5}, "MODEL.DROPOUT_RATE 0.5: MobileNetV1 has no"),
    ("MobileNetV1", {"MOBILENET__WIDTH_FACTOR": 0.0}, "MOBILENET.WIDTH_FACTOR is 0.0, expected"),
    ("ImageResNet", {"RESNET__DEPTH": 20}, "RESNET.DEPTH 20: choose one of .18, 34, 50"),
    ("WideResNet", {"WIDERESNET__DEPTH": 20}, "WIDERESNET.DEPTH 20: expected 4 and a multiple"),
    ("WideResNet", {"WIDERESNET__WIDEN_FACTOR": 0}, "WIDERESNET.WIDEN_FACTOR is 0, expected 1"),
])  # fmt: skip
def test_bad_configuration(name, changes, message):
    with pytest.raises(InputError, match=message):
        build_model(make_cfg(name, **changes))


@pytest.mark.parametrize("subnet, message", [
    ("1x4x64", "MobileNetV2 takes pictures, 1x4x64 has 4 frames"),
    ("1x28", "takes sizes from 32"),
])  # fmt: skip
def test_what_a_network_of_pictures_cannot_run(subnet, message):
    with pytest.raises(InputError, match=message):
        require_runnable(make_cfg("MobileNetV2"), Subnet.parse(subnet), "TABLE")
