"""Normalising by given moments, and what is refused; test_distributed.py has the rest."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mutualvideo import Subnet, slimmable
from mutualvideo.errors import InputError
from mutualvideo.slim import slim_state
from mutualvideo.slim.statistics.sync_norm import normalize
from mutualvideo.slim.subclass import require_shareable_norms


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3, 5, 5)], ids=str)
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_normalizes_as_torch(shape, affine, dtype):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).to(dtype)
    mean, var, weight, bias = torch.rand(4, 6, generator=generator)
    weight, bias = (weight, bias) if affine else (None, None)
    found = normalize(x, mean, var, weight, bias, 1e-3)
    wanted = F.batch_norm(
        x.double(),
        mean.double(),
        var.double(),
        *(None if part is None else part.double() for part in (weight, bias)),
        eps=1e-3,
    )
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(found.double(), wanted, rtol=tolerance, atol=tolerance)


class Activated(nn.BatchNorm3d):
    def forward(self, x):
        return super().forward(x).relu()


def test_a_norm_with_a_forward_of_its_own_is_refused_by_name():
    layers = nn.Conv3d(3, 16, 1), Activated(16), nn.AdaptiveAvgPool3d(1), nn.Flatten()
    model = slimmable(nn.Sequential(*layers, nn.Linear(16, 2)), (0.5, 1), full=Subnet(1, 2, 8))
    with pytest.raises(InputError, match="Activated: .*let each process's BatchNorm take its own"):
        require_shareable_norms(model)
    slim_state(model).over_processes = True
    with pytest.raises(InputError, match="Activated: .*let each process's BatchNorm take its own"):
        model.train()(torch.randn(2, 3, 2, 8, 8))
