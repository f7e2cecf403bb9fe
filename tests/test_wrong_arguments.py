"""What is given to the package's public functions and is none of what they take: a line each."""

import pytest
import torch
from torch import nn

import mutualvideo as mv
from mutualvideo.errors import InputError
from mutualvideo.extras import install_command
from mutualvideo.table.query import QueryTable, Row

ROWS = [Row(mv.Subnet(0.5, 3, 32), 100, 10, 50.0, 100.0, 2.0)]
ROWS += [Row(mv.Subnet(1, 6, 40), 1000, 20, 90.0, 100.0, 8.0)]


@pytest.fixture(scope="module")
def pictures():
    """A slimmable network of pictures that was not told what its full sub-network is."""
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(1)]
    return mv.slimmable(nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 4)))


CALLS = {
    "count_macs": lambda net: mv.count_macs("x", "1x32"),
    "count_macs of none": lambda net: mv.count_macs(nn.Linear(2, 2), "1x32"),
    "count_macs as text": lambda net: mv.count_macs(net, "wide"),
    "count_macs of a number": lambda net: mv.count_macs(net, 0.5),
    "extract": lambda net: mv.extract("x", "1x32"),
    "extract as text": lambda net: mv.extract(net, "wide"),
    "calibrate": lambda net: mv.calibrate("x", ["1x32"], []),
    "calibrate as text": lambda net: mv.calibrate(net, ["wide"], []),
    "set_subnet": lambda net: mv.set_subnet("x", "1x32"),
    "set_subnet as text": lambda net: mv.set_subnet(net, "wide"),
    "set_width of text": lambda net: mv.set_width(net, "half"),
    "set_width of digits": lambda net: mv.set_width(net, "0.5"),
    "set_width of nothing": lambda net: mv.set_width(net, None),
    "set_width of a list": lambda net: mv.set_width(net, [0.5]),
    "set_width of a truth": lambda net: mv.set_width(net, True),
    "set_width": lambda net: mv.set_width("x", 0.5),
    "order_channels": lambda net: mv.order_channels("x"),
    "slimmable": lambda net: mv.slimmable("x"),
    "slimmable of text": lambda net: mv.slimmable(nn.Linear(2, 2), width_range="wide"),
    "slimmable_report": lambda net: mv.slimmable_report("x"),
    "load_pretrained": lambda net: mv.load_pretrained("x", "weights.pyth"),
    "frames on pictures, counted": lambda net: mv.count_macs(net, mv.Subnet(0.5, 8, 32)),
    "frames on pictures, cut out": lambda net: mv.extract(net, mv.Subnet(0.5, 8, 32)),
    "Service": lambda net: mv.Service("x"),
    "StreamServer": lambda net: mv.StreamServer("x", []),
    "AdaptiveRecognizer": lambda net: mv.AdaptiveRecognizer(5),
    "AdaptiveRecognizer of none": lambda net: mv.AdaptiveRecognizer("output/none"),
    "table": lambda net: QueryTable(ROWS)["wide"],
    "budget": lambda net: QueryTable(ROWS).best(macs="many"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_one_line_that_says_so(pictures, call):
    with pytest.raises(InputError) as caught:
        call(pictures)
    text = str(caught.value)
    assert "\n" not in text and len(text) > 20
    assert torch.equal(torch.tensor(pictures.slim_state.width), torch.tensor(1.0))


@pytest.mark.parametrize(
    "name, words",
    [
        ("count_macs", "expected a network (torch.nn.Module), got 'x'"),
        ("set_width of text", "width 'half': expected a number from"),
        ("frames on pictures, counted", "0.5x8x32: the network does not run on a clip of"),
        ("Service", "expected an AdaptiveRecognizer, got 'x'"),
        ("AdaptiveRecognizer of none", "output/none: no such file or folder: name the OUTPUT_DIR"),
    ],
)
def test_what_it_says(pictures, name, words):
    with pytest.raises(InputError) as caught:
        CALLS[name](pictures)
    assert words in str(caught.value)


def test_a_network_that_knows_its_full_one_refuses_frames_at_once():
    layers = [nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)]
    net = mv.slimmable(nn.Sequential(*layers), full=mv.Subnet(1, None, 32))
    with pytest.raises(InputError, match="0.5x8x32: this network takes pictures, .* such as 1x32"):
        mv.set_subnet(net, "0.5x8x32")


def test_the_text_of_a_subnet_is_as_good(pictures):
    subnet = mv.Subnet(0.5, None, 32)
    assert mv.count_macs(pictures, "0.5x32") == mv.count_macs(pictures, subnet)
    clip = torch.randn(1, 3, 32, 32)
    found = [mv.extract(pictures, one)(clip) for one in (subnet, "0.5x32")]
    assert torch.equal(*found)
    mv.set_subnet(pictures, "0.5x32")
    assert pictures.slim_state.subnet == subnet
    mv.set_width(pictures, 1)
    assert QueryTable(ROWS)["1x6x40"] is ROWS[1]


@pytest.mark.parametrize(
    "budget, words",
    [
        ({"fps": 1e6}, "budget of 1e+06 fps, 0.001 ms a clip, is below"),
        ({"ms": 0.004}, "budget of 0.004 ms is below"),
        ({"ms": 1.0}, "budget of 1.0 ms is below the cheapest sub-network, 0.5x3x32 at 2.0 ms"),
        ({"macs": 7}, "budget of 7 MACs is below"),
    ],
)
def test_a_budget_that_is_too_small_is_shown_as_it_was_given(budget, words):
    with pytest.raises(InputError) as caught:
        QueryTable(ROWS).best(**budget)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "address, expected",
    [
        (None, "pip install 'mutualvideo[web]'"),
        ("not json", "pip install 'mutualvideo[web]'"),
        ('{"url": "file:///a/m.whl"}', "pip install 'mutualvideo[web] @ file:///a/m.whl'"),
        (
            '{"url": "https://host/r", "vcs_info": {"vcs": "git"}}',
            "pip install 'mutualvideo[web] @ git+https://host/r'",
        ),
    ],
)
def test_extras_are_installed_as_the_package_was(tmp_path, monkeypatch, address, expected):
    from mutualvideo import extras

    here = install_command("web")
    assert here.startswith("pip install -e ") and here.rstrip("'").endswith("[web]")
    monkeypatch.setattr(extras, "__file__", str(tmp_path / "mutualvideo" / "extras.py"))

    class Distribution:
        read_text = staticmethod(lambda name: address)

    monkeypatch.setattr(extras.importlib.metadata, "distribution", lambda name: Distribution)
    assert install_command("web") == expected
