import pytest
import torch


@pytest.fixture(scope="session")
def pictures():
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(3, *shape, generator=generator) for shape in ((50, 70), (64, 48))]
