"""The image networks of MutualNet (arXiv 2105.07085) by their names in the registry."""

import torchvision
from torch import nn

from mutualvideo.errors import InputError
from mutualvideo.models import mobilenet, wideresnet
from mutualvideo.models.model_registry import MODEL_REGISTRY, require_arch
from mutualvideo.models.resnet2d import bottleneck2d_rules

_RESNETS = {
    18: torchvision.models.resnet18,
    34: torchvision.models.resnet34,
    50: torchvision.models.resnet50,
    101: torchvision.models.resnet101,
    152: torchvision.models.resnet152,
}
_BASIC_BLOCKS = (18, 34)


@MODEL_REGISTRY.register()
def MobileNetV1(cfg):
    """MobileNet v1, by MOBILENET.WIDTH_FACTOR."""
    _require_picture_network(cfg, dropout=False)
    return mobilenet.MobileNetV1(cfg.MODEL.NUM_CLASSES, cfg.MOBILENET.WIDTH_FACTOR), {}


@MODEL_REGISTRY.register()
def MobileNetV2(cfg):
    """torchvision's MobileNet v2, by MOBILENET.WIDTH_FACTOR."""
    _require_picture_network(cfg)
    network = torchvision.models.mobilenet_v2(
        num_classes=cfg.MODEL.NUM_CLASSES,
        width_mult=cfg.MOBILENET.WIDTH_FACTOR,
        dropout=cfg.MODEL.DROPOUT_RATE,
    )
    return network, {"rules": mobilenet.inverted_residual_rules(network)}


@MODEL_REGISTRY.register()
def ImageResNet(cfg):
    """torchvision's ResNet, by RESNET.DEPTH."""
    _require_picture_network(cfg)
    depth = cfg.RESNET.DEPTH
    if depth not in _RESNETS:
        raise InputError(f"RESNET.DEPTH {depth}: choose one of {tuple(_RESNETS)}")
    network = _RESNETS[depth](
        num_classes=cfg.MODEL.NUM_CLASSES, zero_init_residual=cfg.RESNET.ZERO_INIT_FINAL_BN
    )
    if cfg.MODEL.DROPOUT_RATE:
        # Between pooling and classifier, as PySlowFast's; upstream's names stay.
        network.avgpool = nn.Sequential(network.avgpool, nn.Dropout(cfg.MODEL.DROPOUT_RATE))
    return network, {} if depth in _BASIC_BLOCKS else {"rules": bottleneck2d_rules(network)}


@MODEL_REGISTRY.register()
def WideResNet(cfg):
    """WRN for CIFAR, by the WIDERESNET keys."""
    _require_picture_network(cfg, dropout=False)
    keys = cfg.WIDERESNET
    return wideresnet.WideResNet(keys.DEPTH, keys.WIDEN_FACTOR, cfg.MODEL.NUM_CLASSES), {}


def _require_picture_network(cfg, dropout=True):
    require_arch(cfg, "2d")
    if not dropout and cfg.MODEL.DROPOUT_RATE:
        raise InputError(
            f"MODEL.DROPOUT_RATE {cfg.MODEL.DROPOUT_RATE:g}: {cfg.MODEL.MODEL_NAME} has no "
            "dropout: set it to 0"
        )
