"""torchvision's ResNets for images (arXiv 1512.03385), and how those of bottlenecks are slimmed."""

from fractions import Fraction
from typing import Any

import torchvision
from fvcore.common.config import CfgNode
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from mutualvideo.errors import InputError
from mutualvideo.models.model_registry import MODEL_REGISTRY
from mutualvideo.models.network import Network
from mutualvideo.models.weights.mutualnet_names import MUTUALNET
from mutualvideo.slim import Ratio

_RESNETS = {
    18: torchvision.models.resnet18,
    34: torchvision.models.resnet34,
    50: torchvision.models.resnet50,
    101: torchvision.models.resnet101,
    152: torchvision.models.resnet152,
}


def bottleneck2d_rules(network: nn.Module) -> dict[str, Ratio]:
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
    rules: dict[str, Ratio] = {}
    first = None
    for name, block in network.named_modules():
        layers: list[Any] = [getattr(block, f"conv{number}", None) for number in (1, 2, 3)]
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


@MODEL_REGISTRY.register()
class ImageResNet(Network):
    """torchvision's ResNet, by RESNET.DEPTH."""

    name = "ImageResNet"
    takes_pictures = True
    archs = ("2d",)
    keys = {"RESNET.DEPTH": None}
    blocks = (BasicBlock, Bottleneck)
    formats = (MUTUALNET,)

    def build(self, cfg: CfgNode) -> nn.Module:
        depth = cfg.RESNET.DEPTH
        if depth not in _RESNETS:
            raise InputError(f"RESNET.DEPTH {depth}: choose one of {tuple(_RESNETS)}")
        network = _RESNETS[depth](
            num_classes=cfg.MODEL.NUM_CLASSES, zero_init_residual=cfg.RESNET.ZERO_INIT_FINAL_BN
        )
        if cfg.MODEL.DROPOUT_RATE:
            # Between pooling and classifier, as PySlowFast's; upstream's names stay.
            network.avgpool = nn.Sequential(network.avgpool, nn.Dropout(cfg.MODEL.DROPOUT_RATE))
        return network

    def stages(self, network: nn.Module) -> list[list[nn.Module]]:
        stem: list[nn.Module] = [network.get_submodule(name) for name in ("conv1", "bn1")]
        return [stem, *([network.get_submodule(f"layer{number}")] for number in range(1, 5))]

    def rules(self, network: nn.Module) -> dict[str, Ratio]:
        has_bottlenecks = any(isinstance(module, Bottleneck) for module in network.modules())
        return bottleneck2d_rules(network) if has_bottlenecks else {}
