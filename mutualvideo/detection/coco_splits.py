"""Training and evaluation data of a detector, by the configuration: ``cocodetection``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode
from torch.utils.data import Dataset

from mutualvideo.data.batch_orders import OrderedBatches, ShuffledBatches
from mutualvideo.data.loader import ClipLoader
from mutualvideo.data.randomness import seeded_draws
from mutualvideo.detection.coco_file import read_coco_file
from mutualvideo.detection.coco_pictures import CocoPictures, as_lists, picture_transforms
from mutualvideo.errors import InputError
from mutualvideo.models import network_of

NAME = "cocodetection"
# Ours, as tools/toy_dataset.py writes them, and COCO's own of 2017: the annotations, the pictures.
_LAYOUTS = (("{split}.json", ""), ("annotations/instances_{split}2017.json", "{split}2017"))


def split_files(cfg: CfgNode, split: str) -> tuple[str, str]:
    """(annotation file, folder of its pictures) of ``train``, ``val`` or ``test``.

    In DATA.PATH_TO_DATA_DIR lie ``train.json`` and ``val.json``, whose names of pictures start
    from there, or COCO's own folders. A DATA.PATH_PREFIX is the folder of the pictures instead.
    Without a file of its own ``test`` is ``val``; COCO's test pictures have no annotations.

    Raises:
        InputError: for another data set, or if neither is there.
    """
    key = "TEST.DATASET" if split == "test" else "TRAIN.DATASET"
    section, leaf = key.split(".")
    if cfg[section][leaf] != NAME:
        raise InputError(
            f"{key} {cfg[section][leaf]}: {cfg.MODEL.MODEL_NAME} is a detector: set it to {NAME}"
        )
    root = cfg.DATA.PATH_TO_DATA_DIR
    for name in ("test", "val") if split == "test" else (split,):
        for file, folder in _LAYOUTS:
            path = os.path.join(root, file.format(split=name))
            if os.path.isfile(path):
                return path, cfg.DATA.PATH_PREFIX or os.path.join(root, folder.format(split=name))
    expected = " or ".join(
        file.format(split="val" if split == "test" else split) for file, _ in _LAYOUTS
    )
    raise InputError(
        f"DATA.PATH_TO_DATA_DIR {root or '(empty)'}: has no {expected}: name the folder that does"
    )


def read_split(cfg: CfgNode, split: str) -> CocoPictures:
    """The pictures of ``train``, ``val``, ``test`` or ``calibration`` with their boxes.

    Those of training leave out pictures without a box; ``train`` mirrors half of them
    (DATA.RANDOM_FLIP), ``calibration`` has the same pictures as they are.

    Raises:
        InputError: as :func:`split_files` and :class:`CocoPictures`.
    """
    training = split in ("train", "calibration")
    path, folder = split_files(cfg, "train" if training else split)
    flips = split == "train" and cfg.DATA.RANDOM_FLIP
    return CocoPictures(
        path,
        folder,
        train=training,
        masks=split == "train" and network_of(cfg).has_masks,
        transforms=picture_transforms(flips),
    )


def settle_detected_classes(cfg: CfgNode) -> CfgNode:
    """``cfg`` with MODEL.NUM_CLASSES of the training data, the background included, where it is 0.

    Raises:
        InputError: as :func:`split_files`, or for a bad file.
    """
    if cfg.MODEL.NUM_CLASSES:
        return cfg
    cfg = cfg.clone()
    cfg.MODEL.NUM_CLASSES = 1 + max(read_coco_file(split_files(cfg, "train")[0]).categories)
    return cfg


class PicturesByKey(Dataset):
    """Pictures by key (row, epoch): what is random about one depends on (seed, epoch, row) alone.

    Args:
        pictures: what is drawn from.
        seed: RNG_SEED.
        training: whether anything is random.
    """

    num_views = 1

    def __init__(self, pictures: CocoPictures, seed: int, training: bool) -> None:
        self.pictures, self._seed, self._training = pictures, seed, training

    @property
    def classes(self) -> dict[int, str]:
        """``{label: name}``."""
        return self.pictures.classes

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitems__(self, keys: Iterable[tuple[int, int]]) -> tuple[list, dict]:
        return [self._sample(row, draw) for row, draw in keys], {}

    def _sample(self, row: int, epoch: int) -> tuple[Any, dict]:
        if not self._training:
            return self.pictures[row]
        seed = np.random.SeedSequence((self._seed, epoch, row)).generate_state(1)[0]
        with seeded_draws(seed):
            return self.pictures[row]


def detection_loader(cfg: CfgNode, split: str, rank: int = 0, world_size: int = 1) -> ClipLoader:
    """The batches of one split, as :func:`~mutualvideo.data.loader.build_loader` makes clips'.

    A batch is ([picture, ...], [target, ...]), see
    :class:`~mutualvideo.detection.coco_pictures.CocoPictures`. Unlike videos, a picture that cannot
    be read ends the run.

    Args:
        cfg: the configuration.
        split: ``train``, ``calibration`` (the batches of train, always of epoch 0, not mirrored),
            ``val`` or ``test`` (in their order, TEST.BATCH_SIZE pictures).
        rank, world_size: which process this is, of how many.

    Raises:
        InputError: as :func:`read_split`; while iterating, for a bad picture.
    """
    pictures, workers = read_split(cfg, split), cfg.DATA_LOADER
    order: OrderedBatches | ShuffledBatches
    if split in ("train", "calibration"):
        size = cfg.TRAIN.BATCH_SIZE
        if len(pictures) < size:
            raise InputError(
                f"{pictures.file.path}: {len(pictures)} pictures to learn, fewer than "
                f"TRAIN.BATCH_SIZE {size}; lower it"
            )
        order = ShuffledBatches(len(pictures), size, cfg.RNG_SEED, rank, world_size)
        order.is_fixed = split == "calibration"
    else:
        order = OrderedBatches(range(rank, len(pictures), world_size), 1, cfg.TEST.BATCH_SIZE)
    data = PicturesByKey(pictures, cfg.RNG_SEED, split == "train")
    return ClipLoader(data, order, None, workers.NUM_WORKERS, workers.PIN_MEMORY, batch_of=as_lists)


def compare_splits(train: CocoPictures, other: CocoPictures) -> None:
    """Whether labels mean the same in both.

    Raises:
        InputError: naming the first that does not.
    """
    for label, name in other.classes.items():
        theirs = train.classes.get(label)
        if theirs != name:
            raise InputError(
                f"{other.file.path}: category {label} is {name!r}, and "
                f"{'not there' if theirs is None else repr(theirs)} in {train.file.path}: give "
                "both the same categories"
            )
