"""Many sub-networks on one clip."""

import pytest
import torch

from mutualvideo.errors import InputError
from mutualvideo.models import build_model
from mutualvideo.slim import each_subnet, subnet_input
from mutualvideo.subnet import Subnet
from tests.networks import NETWORKS, few_blocks, make_cfg, make_clip, subnets


@pytest.mark.parametrize("name", NETWORKS)
def test_every_sub_network_once_and_every_input_shape_made_once(name):
    cfg = make_cfg(name)
    with few_blocks():
        model = build_model(cfg).eval()
    clip = make_clip(cfg, 1)
    wanted = subnets(cfg)
    wanted += [Subnet(0.9, subnet.frames, subnet.size) for subnet in wanted[1:3]]
    inputs = {}
    for subnet, x in each_subnet(model, clip, wanted):
        assert model.slim_state.subnet == subnet and subnet not in inputs
        assert torch.equal(x, subnet_input(model, clip, subnet))
        inputs[subnet] = x
    assert inputs.keys() == set(wanted)
    # SlowFast makes its pathways inside: all of its sub-networks take the whole clip.
    assert len({id(x) for x in inputs.values()}) == (1 if name == "SlowFast" else 3)


def test_what_the_clip_or_the_network_cannot_give():
    model = build_model(make_cfg("X3D"))
    clip = torch.randn(1, 3, 4, 64, 64)
    with pytest.raises(InputError, match="8 frames cannot be fed from a clip of 4"):
        list(each_subnet(model, clip, [Subnet(1, 8, 64)]))
    with pytest.raises(InputError, match="0.1"):
        list(each_subnet(model, clip, [Subnet(0.1, 4, 64)]))
