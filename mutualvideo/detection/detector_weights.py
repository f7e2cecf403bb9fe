"""Weights for detectors: torchvision's of the whole one, or of a classifier as its backbone."""

import logging

from torch import nn

from mutualvideo.detection.detector import slimmed_part
from mutualvideo.errors import InputError
from mutualvideo.models.weights.pretrained import load_weights
from mutualvideo.models.weights.weights_file import read_checkpoint

logger = logging.getLogger(__name__)

# What a detector for other classes makes anew.
_PREDICTORS = (
    "head.classification_head.",
    "roi_heads.box_predictor.",
    "roi_heads.mask_predictor.mask_fcn_logits.",
)
# The last layer of ResNets, in torchvision's files and in MutualNet's.
_CLASSIFIERS = ("fc.weight", "classifier.0.weight")


def load_detector(model, path):
    """Loads a detector's weights into the slimmable detector ``model``, all or nothing.

    A file of ``torch.save(detector.state_dict(), ...)``, such as torchvision's released ones,
    with frozen BatchNorm or not. If it is for other classes, the layers that predict classes keep
    the weights that they have.

    Args:
        model: a slimmable detector.
        path: the file; nothing in it is executed.

    Returns:
        list of str: names of the weights that were kept, for want of the same classes.

    Raises:
        InputError: if the file cannot be read, or is of another detector.
    """
    slimmed_part(model)
    state, own = read_checkpoint(path)["model_state"], model.state_dict()
    kept = [
        name
        for name, tensor in state.items()
        if name.startswith(_PREDICTORS) and name in own and tensor.shape != own[name].shape
    ]
    load_weights(model, {**state, **{name: own[name] for name in kept}}, str(path))
    return kept


def load_starting_weights(model, path):
    """Loads ``path`` into the slimmable detector ``model``: a detector, or a classifier's ResNet.

    What :func:`load_detector` or :func:`load_backbone` does, whichever the file is for; of a
    detector for other classes the layers that predict them begin anew.

    Raises:
        InputError: as they do.
    """
    state = read_checkpoint(path)["model_state"]
    if any(name.startswith("backbone.") for name in state):
        kept = load_detector(model, path)
        if kept:
            logger.warning("%s is for other classes: %s not loaded", path, ", ".join(kept))
        return
    load_backbone(model, path)


def load_backbone(model, path):
    """Loads a ResNet for classification into the backbone of the slimmable detector ``model``.

    Torchvision's ``state_dict()``s and MutualNet's, as :func:`~mutualvideo.load_pretrained` reads
    them, whatever their classes: the classifier is left out.

    Args:
        model: a slimmable RetinaNet or R-CNN with torchvision's ResNet and pyramid.
        path: the file; nothing in it is executed.

    Returns:
        :class:`~mutualvideo.models.weights.pretrained.Loaded`.

    Raises:
        InputError: if the file cannot be read or is of another network, or the backbone of
            ``model`` is no ResNet (SSDLite's last blocks are narrower than the classifier's).
    """
    slimmed_part(model)
    body = getattr(model.backbone, "body", None)
    if not hasattr(body, "layer4"):
        raise InputError(
            f"{path}: {type(model).__name__} has no ResNet as its backbone that a classifier's "
            "weights would fit; load_detector() takes a whole detector's"
        )
    state = read_checkpoint(path)["model_state"]
    # What it predicts does not matter, so it may be any number of classes.
    classes = next((len(t) for n, t in state.items() if n.endswith(_CLASSIFIERS)), 1000)
    classifier = nn.Module()  # the body's own layers, and what the file has beside them
    for name, module in body.named_children():
        classifier.add_module(name, module)
    last = [layer for layer in body.layer4[-1].modules() if isinstance(layer, nn.Conv2d)][-1]
    classifier.fc = nn.Linear(last.out_channels, classes)
    return load_weights(classifier, state, str(path))
