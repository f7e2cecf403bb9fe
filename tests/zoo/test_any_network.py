"""Networks that were not written for slimmable(): each is right at every width, or says what helps.

With ``test_zoo.py`` of ``tests/slim`` more than 110 networks: small ones in the style of people's
reports, and those of timm and torchvision.
"""

import copy
import re
import warnings

import pytest
import timm
import torch
import torchvision

from mutualvideo.errors import InputError
from mutualvideo.slim import (
    Fixed,
    count_macs,
    extract,
    order_channels,
    set_width,
    slimmable,
    slimmable_report,
)
from mutualvideo.slim.tracing.outputs import described
from mutualvideo.subnet import Subnet
from tests.networks import randomize_norms
from tests.zoo.oddities import oddities

ODD = oddities()
TORCHVISION = """alexnet resnet34 wide_resnet50_2 squeezenet1_0 mobilenet_v3_small
efficientnet_v2_s regnet_x_400mf mnasnet0_5 shufflenet_v2_x0_5 convnext_tiny"""
TIMM = """resnet10t resnet18d resnet26t seresnext26t_32x4d legacy_seresnet18 skresnet18 resnest14d
ecaresnet26t resnetblur18 gcresnext26ts gernet_s mobilenetv3_small_050 efficientnet_lite0
mixnet_s rexnet_100 ghostnet_050 fbnetc_100 spnasnet_100 semnasnet_075 hardcorenas_a lcnet_035
cspdarknet53 dla34 hrnet_w18_small res2net50_14w_8s regnetx_002 regnety_002 repvgg_a0 selecsls42
ese_vovnet19b_slim nf_resnet26 convnext_atto convnextv2_atto vit_tiny_patch16_224"""
QUICK = ("mix: add", "mix: channel shuffle", "mix: norms", "mix: argmax", "returns a dataclass")
# Transformers: refused with a sentence, and accepted with their attention whole.
REFUSED = {"timm vit_tiny_patch16_224"}
SIZES = {"timm vit_tiny_patch16_224": 224, "alexnet": 64}


def cases():
    for name in ODD:
        marks = () if name in QUICK else pytest.mark.slow
        yield pytest.param(name, marks=marks, id=name.replace(" ", "-"))
    for library, names in (("torchvision", TORCHVISION), ("timm", TIMM)):
        for name in names.split():
            yield pytest.param(f"{library} {name}", marks=pytest.mark.slow, id=f"{library}-{name}")


def make(name):
    torch.manual_seed(0)
    if name in ODD:
        return ODD[name]().eval(), 16
    library, name_there = name.split()
    build = torchvision.models.get_model if library == "torchvision" else timm.create_model
    return build(name_there, num_classes=7).eval(), SIZES.get(name, 64)


def shapes(out):
    return [(path, tuple(t.shape)) for path, t in described(out)]


def close(ours, theirs, tolerance=1e-4):
    for (_, a), (_, b) in zip(described(ours), described(theirs), strict=True):
        assert (a - b).abs().max() <= tolerance * max(1, b.abs().max().item())


@pytest.mark.parametrize("name", list(cases()))
@pytest.mark.filterwarnings("ignore")
def test_right_at_every_width_or_refused_with_a_way_out(name, tmp_path):
    network, size = make(name)
    randomize_norms_if_any(network)
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        answer = network(x)
    state = copy.deepcopy(network.state_dict())  # with the versions of its modules
    try:
        model = slimmable(network, example=x)
    except InputError as error:
        assert name in REFUSED, error
        rules = eval(re.search(r"rules=(\{.*?\})", str(error))[1], {"Fixed": Fixed})
        model = slimmable(network, example=x, rules=rules)
    else:
        assert name not in REFUSED
    with torch.no_grad():
        close(model(x), answer)
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
        costs = []
        for width in (1.0, 0.6, 0.25):
            set_width(model, width)
            sliced = model(x)
            assert shapes(sliced) == shapes(answer)
            static = extract(model, Subnet(width, None, size), example=x)
            close(static(x), sliced)
            costs.append(count_macs(model, Subnet(width, None, size), example=x))
        assert costs == sorted(costs, reverse=True)
        report = slimmable_report(model)
        assert costs[-1] < costs[0] or report.share < 0.05, report
        close(copy.deepcopy(model)(x), sliced)
        set_width(model, 1.0)
        order_channels(model)
        close(model(x), answer, 1e-3)
        model.load_state_dict(state, strict=True)
        close(model(x), answer)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in ODD if n.startswith("mix")][::4])
@pytest.mark.filterwarnings("ignore")
def test_the_narrowest_exports_to_onnx(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    network, size = make(name)
    x = torch.randn(2, 3, size, size)
    model = slimmable(network, example=x)
    static = extract(model, Subnet(0.25, None, size), example=x)
    path = tmp_path / "narrow.onnx"
    torch.onnx.export(static, (x,), path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        close(torch.from_numpy(found[0]), static(x), 1e-3)


def randomize_norms_if_any(network):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in network.modules():
            if getattr(module, "weight", 0) is None or getattr(module, "running_mean", 0) is None:
                return  # norms without numbers: there is nothing to change
        randomize_norms(network)
