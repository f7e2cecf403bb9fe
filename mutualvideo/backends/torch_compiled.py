"""Sub-networks cut out and compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mutualvideo.backends.common.base import Runner, Shape
from mutualvideo.backends.torch_extracted import Extracted
from mutualvideo.subnet import Subnet

if TYPE_CHECKING:
    from torch import nn


class Compiled(Extracted):
    """Through ``torch.compile``, which needs a C++ compiler on the CPU and some minutes."""

    name = "torch-compiled"

    def runner(self, network: nn.Module, subnet: Subnet, shape: Shape) -> Runner:
        import torch
        from torch import nn

        # A module again, around the same parameters.
        return super().runner(cast(nn.Module, torch.compile(network)), subnet, shape)
