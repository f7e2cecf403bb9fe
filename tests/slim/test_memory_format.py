"""The layout of weights and activations, which depends on the device and on depthwise 3D."""

import copy

import pytest
import torch
from torch import nn

from mutualvideo import Subnet, build_model, load_cfg
from mutualvideo.slim import channels_last, memory_format, place, set_subnet, weights_layout

_SMALL = ["DATA.NUM_FRAMES", "4", "DATA.TRAIN_CROP_SIZE", "64", "MODEL.NUM_CLASSES", "5"]
X3D = [*_SMALL, "X3D.DEPTH_FACTOR", "0.4", "X3D.DIM_C5", "64"]
SLOW = [*_SMALL, "MODEL.MODEL_NAME", "ResNet", "MODEL.ARCH", "slow"]


def _network(keys):
    torch.manual_seed(0)
    return build_model(load_cfg(None, keys)).eval()


@pytest.mark.parametrize(
    ("keys", "on_cpu", "on_gpu"),
    [
        (X3D, torch.channels_last_3d, torch.contiguous_format),
        (SLOW, torch.channels_last_3d, torch.channels_last_3d),
    ],
)
def test_layout_of_clips(keys, on_cpu, on_gpu):
    model = _network(keys)
    assert weights_layout(model) == weights_layout(model, "cpu") == on_cpu
    assert weights_layout(model, "cuda:1") == weights_layout(model, torch.device("cuda")) == on_gpu


def test_depthwise_convolutions_of_pictures_have_channels_last_everywhere():
    network = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8))
    for device in ("cpu", "cuda"):
        assert weights_layout(network, device) == torch.channels_last


def test_where_channels_last_is_slow_every_layer_gets_the_default_layout(monkeypatch):
    """The layout of a GPU, on the CPU: all convolutions see it, and the answers are the same."""
    plain, placed = _network(X3D), _network(X3D)
    clip = channels_last(torch.randn(2, 3, 4, 64, 64))
    monkeypatch.setattr(memory_format, "weights_layout", lambda *_: torch.contiguous_format)
    assert place(placed, "cpu") is placed
    hooks = len(placed._forward_pre_hooks)
    assert len(place(placed, "cpu")._forward_pre_hooks) == hooks
    # The moving average is a copy.
    for model in (placed, copy.deepcopy(placed)):
        seen = []
        for layer in model.modules():
            if isinstance(layer, nn.Conv3d):
                layer.register_forward_hook(
                    lambda one, x, y, seen=seen: seen.append(
                        x[0].is_contiguous() and y.is_contiguous() and one.weight.is_contiguous()
                    )
                )
        for subnet in (Subnet(1.0, 4, 64), Subnet(0.63, 4, 64)):
            set_subnet(model, subnet)
            set_subnet(plain, subnet)
            with torch.no_grad():
                torch.testing.assert_close(model(clip), plain(clip), rtol=1e-4, atol=1e-5)
        assert len(seen) > 20 and all(seen)


def test_on_a_cpu_nothing_is_copied_on_its_way_in(monkeypatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(memory_format, "weights_layout", lambda *_: torch.contiguous_format)
        model = place(_network(X3D), "cpu")
    place(model, "cpu")
    seen = []
    first = next(layer for layer in model.modules() if isinstance(layer, nn.Conv3d))
    first.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    clip = channels_last(torch.randn(1, 3, 4, 64, 64))
    set_subnet(model, Subnet(1.0, 4, 64))
    with torch.no_grad():
        model(clip)
    assert seen[0].data_ptr() == clip.data_ptr()
