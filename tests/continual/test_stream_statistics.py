"""Statistics of streams, against a network that is told to average over windows, and by hand."""

import copy

import pytest
import torch
from fvcore.nn.squeeze_excitation import SqueezeExcitation
from torch import nn

from mutualvideo.continual import calibrate_streams
from mutualvideo.continual import stream_statistics as ours
from mutualvideo.errors import InputError
from mutualvideo.slim import calibrate, extract, resample_clip, set_subnet
from mutualvideo.slim.batch_norm_layers import batch_norms
from mutualvideo.subnet import Subnet
from tests.continual.references import over_windows, small_network

WIDE, FEW = Subnet(1, 4, 32), Subnet(0.63, 2, 24)


@pytest.fixture
def streams():
    """Of 11 frames, two at a time."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, 11, 32, 32, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("name", ["X3D", "ResNet"])
def test_they_are_those_of_a_network_in_training_over_whole_streams(name, streams):
    """Of a plain copy whose momentum is one over the number of batches, as torch averages."""
    model = small_network(name)
    # Two of four frames are three apart: 0, 3, 6, 9.
    for subnet, apart in ((WIDE, 1), (FEW, 3)):
        plain = extract(model, subnet)
        for norm in plain.modules():
            if isinstance(norm, nn.BatchNorm3d):
                norm.reset_running_stats()
                norm.momentum = None
                norm.train()
        with over_windows(subnet.frames), torch.no_grad():
            for stream in streams:
                taken = stream[:, :, ::apart]
                plain(resample_clip(taken, taken.shape[2], subnet.size))
        calibrate_streams(model, [subnet], streams, 4)
        wanted = [norm for norm in plain.modules() if isinstance(norm, nn.BatchNorm3d)]
        found = [norm.statistics[subnet] for _, norm in batch_norms(model)]
        assert len(wanted) == len(found)
        for norm, (mean, var) in zip(wanted, found, strict=True):
            torch.testing.assert_close(mean, norm.running_mean, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(var, norm.running_var, rtol=1e-4, atol=1e-5)


def test_weights_and_other_statistics_stay(streams):
    model = small_network("X3D")
    calibrate(model, [FEW], [streams[0][:, :, :4]])
    before, kept = copy.deepcopy(model.state_dict()), {}
    for name, norm in batch_norms(model):
        kept[name] = [tensor.clone() for tensor in norm.statistics[FEW]]
    calibrate_streams(model, [WIDE], streams, 4)
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[key])
    for name, norm in batch_norms(model):
        assert all(map(torch.equal, norm.statistics[FEW], kept[name]))
    assert not any("forward" in vars(one) for one in model.modules())


def test_the_window_of_squeeze_excitation(streams):
    """The mean of every frame and those before it, four at most; a stream may be shorter."""
    model = small_network("X3D")
    set_subnet(model, WIDE)
    module = next(one for one in model.modules() if isinstance(one, SqueezeExcitation))
    channels = next(module.block.parameters()).shape[1]
    for frames in (1, 3, 11):
        x = torch.randn(2, channels, frames, 5, 5)
        with over_windows(4), torch.no_grad():
            wanted = module(x)
        with ours.over_windows(model, 4), torch.no_grad():
            torch.testing.assert_close(module(x), wanted)


def test_without_streams():
    with pytest.raises(InputError, match="no clips were given"):
        calibrate_streams(small_network("X3D"), [WIDE], [], 4)
