"""What a network may offer to slimming, beside its forward. Most offer nothing of it.

A network whose sub-networks differ in width alone, or are fed clips of their own shape, needs none
of these methods. One that makes something of the full clip itself, as SlowFast makes its pathways,
has them, under these names; each is looked for by itself. They are called on the network that was
given to :func:`~mutualvideo.slimmable`, at every switch, so they must take no time.
"""

from typing import Protocol, TypeGuard, cast, runtime_checkable

from torch import nn

from mutualvideo.subnet import Subnet


@runtime_checkable
class ChecksSubnet(Protocol):
    """Refuses sub-networks that it cannot run."""

    def check_subnet(self, subnet: Subnet) -> None:
        """Called before a switch to ``subnet``.

        Raises:
            InputError: if the network cannot run it; nothing is switched then.
        """


@runtime_checkable
class FollowsSubnet(Protocol):
    """Is told what it was switched to."""

    def on_subnet(self, subnet: Subnet | None) -> None:
        """Called after a switch; ``None``: to a width alone, for whatever input arrives."""


@runtime_checkable
class ShapesClips(Protocol):
    """Takes other clips than those of a sub-network's own shape."""

    def clip_shape(self, subnet: Subnet) -> tuple[int | None, int]:
        """(frames, size) of the clip that goes in as ``subnet``; frames ``None``: pictures."""


@runtime_checkable
class FollowsFull(Protocol):
    """Is told where the full network is another one for a while."""

    def on_full(self, subnet: Subnet) -> None:
        """Called when the full network's clips get other frames or another size."""


class AdaptiveNetwork(ChecksSubnet, FollowsSubnet, ShapesClips, Protocol):
    """A network that knows which sub-network it is, such as SlowFast: all three together."""


def check_subnet(model: nn.Module, subnet: Subnet) -> None:
    """Asks ``model``, if it can be asked, whether it runs ``subnet``."""
    # The class is looked at, which is remembered; isinstance() takes as long as the switch.
    if issubclass(type(model), ChecksSubnet):
        cast(ChecksSubnet, model).check_subnet(subnet)


def tell_subnet(model: nn.Module, subnet: Subnet | None) -> None:
    """Tells ``model``, if it wants to know, what it was switched to."""
    if issubclass(type(model), FollowsSubnet):
        cast(FollowsSubnet, model).on_subnet(subnet)


def tell_full(model: nn.Module, subnet: Subnet) -> None:
    """Tells ``model``, if it wants to know, what the full network is from now on."""
    if issubclass(type(model), FollowsFull):
        cast(FollowsFull, model).on_full(subnet)


def shapes_clips(model: nn.Module) -> TypeGuard[ShapesClips]:
    """Whether ``model`` takes clips of other shapes than its sub-networks have."""
    return issubclass(type(model), ShapesClips)
