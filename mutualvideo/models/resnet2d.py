"""How image ResNets of bottlenecks (arXiv 1512.03385) are slimmed."""

from fractions import Fraction

from torch import nn

from mutualvideo.errors import InputError
from mutualvideo.slim import Ratio


def bottleneck2d_rules(network):
    """``rules`` for ``slimmable`` of torchvision's ResNet-50 and its like.

    As in MutualNet (arXiv 2105.07085): the inner width of a bottleneck stays the part of the
    *rounded* output width that it is in the full network (a quarter, in ResNet-50), and the
    stem, as wide as the first block's inner layers, follows with them. Blocks whose ``conv2``
    is grouped (ResNeXt) get no rule: their inner width has to be whole groups, which the
    default rule sees to.

    Args:
        network: a network whose blocks have convolutions ``conv1``, ``conv2`` and ``conv3``,
            and whose stem, if it is one convolution, is called ``conv1``.

    Returns:
        ``{layer name: rule}``.

    Raises:
        InputError: if it has no such block.
    """
    rules, first = {}, None
    for name, block in network.named_modules():
        layers = [getattr(block, f"conv{number}", None) for number in (1, 2, 3)]
        if not all(isinstance(layer, nn.Conv2d) for layer in layers):
            continue
        *inner, last = layers
        first = first or last.out_channels
        if inner[1].groups > 1:
            continue
        for number, layer in enumerate(inner, 1):
            part = Fraction(layer.out_channels, last.out_channels)
            rules[f"{name}.conv{number}"] = Ratio(last.out_channels, part)
    if first is None:
        raise InputError(
            f"bottleneck2d_rules(): {type(network).__name__} has no block of conv1, conv2 and "
            "conv3: give torchvision's ResNet-50 or its like, or rules of your own"
        )
    stem = getattr(network, "conv1", None)
    if isinstance(stem, nn.Conv2d):
        rules["conv1"] = Ratio(first, Fraction(stem.out_channels, first))
    return rules
