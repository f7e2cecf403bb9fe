"""Labelled pictures: folders of classes (ImageNet's layout), CIFAR's own files, lists."""

import dataclasses
import functools
import os
from pathlib import Path

import numpy as np
import torchvision
from fvcore.common.config import CfgNode

from mutualvideo.data.annotations import Video, VideoList
from mutualvideo.data.sources.archives import check_classes, read_class_names
from mutualvideo.data.sources.dataset_registry import DATASET_REGISTRY
from mutualvideo.data.sources.kinetics import kinetics
from mutualvideo.errors import InputError
from mutualvideo.media.picture_reader import ArrayReader, PictureReader
from mutualvideo.media_kind import PICTURE_ENDINGS, is_of_kind


def open_file(video):
    """Reader of the picture that a list names."""
    return PictureReader(video.path)


@DATASET_REGISTRY.register()
def imagelist(cfg: CfgNode, split: str) -> VideoList:
    """Lists of pictures, as :func:`~mutualvideo.data.sources.kinetics.kinetics` reads them."""
    return dataclasses.replace(kinetics(cfg, split), open_picture=open_file)


@DATASET_REGISTRY.register()
def imagefolder(cfg: CfgNode, split: str) -> VideoList:
    """Folders of pictures, ``train/CLASS/...``, by torchvision's ``ImageFolder``.

    Val and test are both ``val``, or ``test`` where there is no ``val`` (that of ImageNet has no
    labels). Labels are the rank of a class's folder in ``train``, without hidden ones (``.name``);
    ``classes.txt`` beside it, if there, gives the classes other names, one a line.

    Raises:
        InputError: for missing or empty folders, or classes that are not those of ``train``.
    """
    top = Path(cfg.DATA.PATH_TO_DATA_DIR)
    folder = top / "train"
    if split != "train":
        folder = top / "val" if (top / "val").is_dir() else top / "test"
    try:
        classes = _visible_classes(top / "train")[0]
        check_classes(top / "train", classes, cfg)
        is_picture = functools.partial(is_of_kind, endings=PICTURE_ENDINGS, top=folder)
        found = _Folders(folder, is_valid_file=is_picture)
    except FileNotFoundError as error:
        raise InputError(
            f"{folder}: holds no folders of pictures ({' '.join(str(error).split())}); point "
            "DATA.PATH_TO_DATA_DIR to the folder that holds train and val"
        ) from None
    if found.classes != classes:
        odd = sorted(set(found.classes) ^ set(classes))[0]
        raise InputError(f"{folder}: its classes are not those of train: {odd} is in one alone")
    videos = [
        Video(path, label, number, str(Path(path).relative_to(top)))
        for number, (path, label) in enumerate(found.samples, 1)
    ]
    names = read_class_names(cfg) or classes
    return VideoList(str(folder), videos, classes=names, open_picture=open_file)


class _Folders(torchvision.datasets.ImageFolder):
    """``ImageFolder`` for which a hidden folder (``.ipynb_checkpoints``) is no class."""

    def find_classes(self, directory):
        return _visible_classes(directory)


def _visible_classes(folder):
    names = sorted(
        entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."
    )
    if not names:
        raise FileNotFoundError("there is no folder of a class in it")
    return names, {name: number for number, name in enumerate(names)}


class _InMemory:
    """Opens picture number ``video.line``, from 1, of an array (N, H, W, 3)."""

    def __init__(self, pixels):
        self._pixels = pixels

    def __call__(self, video):
        return ArrayReader(video.path, self._pixels[video.line - 1])


@DATASET_REGISTRY.register()
def cifar10(cfg: CfgNode, split: str) -> VideoList:
    """CIFAR-10's files for Python, ``cifar-10-batches-py``; val and test are its test set."""
    return _cifar(torchvision.datasets.CIFAR10, cfg, split)


@DATASET_REGISTRY.register()
def cifar100(cfg: CfgNode, split: str) -> VideoList:
    """CIFAR-100's files for Python, ``cifar-100-python``, fine labels; as :func:`cifar10`."""
    return _cifar(torchvision.datasets.CIFAR100, cfg, split)


def _cifar(kind, cfg, split):
    root = Path(cfg.DATA.PATH_TO_DATA_DIR)
    where = root / kind.base_folder
    try:
        # Compares the files' MD5 with the official ones before it reads them.
        found = kind(root, train=split == "train", download=False)
    except (RuntimeError, OSError):
        raise InputError(
            f"{where}: does not hold the official files; unpack {kind.filename} in "
            "DATA.PATH_TO_DATA_DIR"
        ) from None
    check_classes(where, found.classes, cfg)
    part = "train" if split == "train" else "test"
    videos = [
        Video(f"{where}/{part}/{number:05d}", label, number, f"{part}/{number:05d}")
        for number, label in enumerate(found.targets, 1)
    ]
    pixels = np.ascontiguousarray(found.data)
    return VideoList(str(where), videos, classes=found.classes, open_picture=_InMemory(pixels))
