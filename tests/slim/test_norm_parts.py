"""BatchNorm in parts of a batch, against plain BatchNorm on each part by itself."""

import copy

import pytest
import torch
from torch import nn

from mutualvideo import Subnet, slimmable
from mutualvideo.slim import batch_norms, set_subnet, training_shape

FULL, SMALL = Subnet(1, 4, 16), Subnet(1, 2, 12)


@pytest.fixture
def model():
    torch.manual_seed(0)
    layers = [nn.Conv3d(3, 16, 3, padding=1), nn.BatchNorm3d(16), nn.AdaptiveAvgPool3d(1)]
    return slimmable(nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 3)), (0.5, 1), full=FULL)


@pytest.mark.parametrize("count, parts", [(6, 3), (7, 3), (2, 8)])
@pytest.mark.parametrize("width", [1.0, 0.5])
def test_each_part_is_normalised_by_itself(model, count, parts, width):
    model = model.double().train()
    clips = torch.randn(count, 3, 2, 12, 12, dtype=torch.float64)
    pieces = clips.tensor_split(min(parts, count))
    plain = copy.deepcopy(model)
    (_, norm), (_, theirs) = *batch_norms(model), *batch_norms(plain)
    outs, moments = [], []
    for piece in pieces:
        set_subnet(plain, Subnet(width, 2, 12))
        inner = nn.Sequential(*list(plain.children())[:1])(piece)
        dims = (0, 2, 3, 4)
        moments.append((inner.mean(dims), inner.var(dims, correction=0)))
        outs.append(plain(piece))
    before = norm.running_mean.clone(), norm.running_var.clone()
    with training_shape(model, SMALL, parts):
        set_subnet(model, Subnet(width, 2, 12))
        found = model(clips)
        found.sum().backward()
    torch.testing.assert_close(found, torch.cat(outs))
    torch.cat(outs).sum().backward()
    for mine, wanted in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, wanted.grad)
    if width < 1:  # no full network of the step: nothing moves
        assert torch.equal(norm.running_mean, before[0]) and norm.num_batches_tracked == 0
        return
    # Every clip counts alike, however many are in its part.
    clips_of = torch.tensor([len(piece) for piece in pieces])
    means, variances = (
        torch.stack(one).repeat_interleave(clips_of, 0) for one in zip(*moments, strict=True)
    )
    whole = nn.Sequential(*list(plain.children())[:1])(clips)
    total = variances.mean(0) + means.var(0, correction=0)
    torch.testing.assert_close(total, whole.var(dims, correction=0))
    torch.testing.assert_close(means.mean(0), whole.mean(dims))
    torch.testing.assert_close(norm.running_mean, 0.9 * before[0] + 0.1 * whole.mean(dims))
    torch.testing.assert_close(norm.running_var, 0.9 * before[1] + 0.1 * whole.var(dims))
    assert norm.num_batches_tracked == 1 and theirs.num_batches_tracked == 0


def test_afterwards_the_full_network_is_as_before(model):
    state = model.slim_state
    with training_shape(model, SMALL, 4):
        set_subnet(model, SMALL)
        assert (state.is_full, state.full, state.norm_parts) == (True, SMALL, 4)
        set_subnet(model, FULL)
        assert not state.is_full
    assert (state.is_full, state.subnet, state.full, state.norm_parts) == (True, FULL, FULL, 1)
    clips = torch.randn(4, 3, 4, 16, 16)
    plain = copy.deepcopy(model).eval()
    torch.testing.assert_close(model.eval()(clips), plain(clips))
