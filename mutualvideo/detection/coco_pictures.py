"""A folder of pictures and COCO's json as a data set of pictures, boxes and masks."""

import logging
import os

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from mutualvideo.detection.coco_file import read_coco_file
from mutualvideo.detection.coco_tools import coco_tools
from mutualvideo.errors import InputError

logger = logging.getLogger(__name__)


class CocoPictures(Dataset):
    """Pictures with their boxes, as torchvision's detectors take them.

    Torchvision's habits: labels are the file's category ids, gaps and all, so that its released
    weights fit; boxes that reach out of the picture are cut off at its edge; crowds are left out,
    and so is what has no area then. Training leaves out pictures without a box. What is left out
    is logged in one line each, with its number.

    Args:
        annotations: path of the json file.
        folder: folder that the ``file_name``s are relative to.
        train: whether pictures without a box are left out, and the default transforms mirror.
        masks: whether targets have ``masks``, which needs pycocotools.
        contiguous: labels 1 to the number of categories, by rank, instead of category ids.
        transforms: a callable of (picture, target), such as
            ``torchvision.transforms.v2.Compose``; by default :func:`picture_transforms`.

    Items are (picture, target): float32 (3, H, W) from 0 to 1 with the default transforms, and a
    dict of ``boxes`` (float32 (N, 4), x1 y1 x2 y2 in pixels), ``labels`` (int64 (N,)),
    ``image_id`` (int) and, with ``masks``, ``masks`` (uint8 (N, H, W)); boxes, masks and the
    picture that the transforms get are ``tv_tensors``.

    Attributes:
        file: :class:`~mutualvideo.detection.coco_file.CocoFile`.
        classes: ``{label: name}``.
        num_classes: what the detector is built for: the largest label, and 1 for the background.

    Raises:
        InputError: for a bad file (see :func:`~mutualvideo.detection.coco_file.read_coco_file`), a
            missing picture, one of another size than the file says or that cannot be read, a
            category of the id 0, which is the background's, or a mask that is none.
    """

    def __init__(
        self, annotations, folder, train=False, masks=False, contiguous=False, transforms=None
    ):
        self.file, self.folder, self.masks = read_coco_file(annotations), str(folder), masks
        keys = list(self.file.categories)
        if not contiguous and keys[0] < 1:
            raise InputError(
                f"{annotations}: has the category id {keys[0]}, but the label 0 is the "
                "background's: number categories from 1, or ask for contiguous labels"
            )
        self._labels = {key: n if contiguous else key for n, key in enumerate(keys, 1)}
        self.classes = {self._labels[key]: self.file.categories[key] for key in keys}
        self.num_classes = max(self.classes) + 1
        self._mask_tools = coco_tools()[2] if masks else None
        self._transforms = picture_transforms(train) if transforms is None else transforms
        paths = [self._path(key) for key in self.file.pictures]
        missing = [path for path in paths if not os.path.isfile(path)]
        if missing:
            raise InputError(
                f"{annotations}: {len(missing)} of {len(paths)} pictures are missing, the first is "
                f"{missing[0]}"
            )
        self._objects = self._usable()
        self.ids = [key for key, found in self._objects.items() if found or not train]
        if not self.ids:
            raise InputError(f"{annotations}: no picture has a box to learn")
        if len(self.ids) < len(self._objects):
            count = len(self._objects) - len(self.ids)
            logger.warning("%s: %d pictures without a box are left out", annotations, count)

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, index):
        key = self.ids[index]
        picture, objects = self._read(key), self._objects[key]
        size = picture.shape[-2:]
        boxes = torch.tensor([box for box, _ in objects], dtype=torch.float32).reshape(-1, 4)
        target = {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=tuple(size)),
            "labels": torch.tensor(
                [self._labels[one["category_id"]] for _, one in objects], dtype=torch.int64
            ),
        }
        if self.masks:
            masks = [self._mask(one, *size) for _, one in objects]
            masks = np.stack(masks) if masks else np.zeros((0, *size), np.uint8)
            target["masks"] = tv_tensors.Mask(torch.from_numpy(masks))
        picture, target = self._transforms(picture, target)
        return picture, {**target, "image_id": key}

    def category_of(self, label):
        """The file's category id of ``label``, an int that a detector gives; ``None``: none."""
        return next((key for key, own in self._labels.items() if own == label), None)

    def _path(self, key):
        return os.path.join(self.folder, self.file.pictures[key]["file_name"])

    def _usable(self):
        """``{picture: [(box x1 y1 x2 y2 within it, annotation), ...]}``."""
        crowds, empty, usable = 0, 0, {}
        for key, annotations in self.file.objects.items():
            picture, found = self.file.pictures[key], []
            width, height = picture["width"], picture["height"]
            for one in annotations:
                x, y, w, h = one["bbox"]
                box = (max(x, 0), max(y, 0), min(x + w, width), min(y + h, height))
                if one.get("iscrowd"):
                    crowds += 1
                elif box[2] <= box[0] or box[3] <= box[1]:
                    empty += 1
                else:
                    found.append((box, one))
            usable[key] = found
        if crowds:
            logger.warning("%s: %d crowds are left out", self.file.path, crowds)
        if empty:
            what = "boxes without area inside of their picture are left out"
            logger.warning("%s: %d %s", self.file.path, empty, what)
        return usable

    def _read(self, key):
        path, wanted = self._path(key), self.file.pictures[key]
        try:
            with Image.open(path) as file:
                picture = np.array(file.convert("RGB"))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(f"{path}: cannot be read as a picture ({error})") from error
        if picture.shape[:2] != (wanted["height"], wanted["width"]):
            raise InputError(
                f"{path}: has {picture.shape[1]}x{picture.shape[0]} pixels, {self.file.path} says "
                f"{wanted['width']}x{wanted['height']}"
            )
        return tv_tensors.Image(torch.from_numpy(picture).permute(2, 0, 1))

    def _mask(self, annotation, height, width):
        tools, form = self._mask_tools, annotation.get("segmentation")
        try:
            if isinstance(form, dict):  # run lengths, as numbers or as text
                packed = isinstance(form["counts"], str)
                runs = form if packed else tools.frPyObjects(form, height, width)
            else:
                runs = tools.merge(tools.frPyObjects(form, height, width))
            mask = tools.decode(runs)
        except Exception as error:  # pycocotools raises plain exceptions, of any kind
            mask, reason = np.zeros(0), str(error) or type(error).__name__
        else:
            reason = f"it is {mask.shape[1]}x{mask.shape[0]}"
        if mask.shape != (height, width):
            raise InputError(
                f"{self.file.path}: annotation {annotation['id']}: its segmentation is no mask of "
                f"{width}x{height} pixels ({reason})"
            )
        return mask


def picture_transforms(train):
    """Torchvision's: mirrored at random in training, float32 from 0 to 1, boxes inside."""
    steps = [v2.RandomHorizontalFlip()] if train else []
    steps += [v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True)]
    return v2.Compose([*steps, v2.ToPureTensor()])


def as_lists(batch):
    """``collate_fn`` of a loader: ([picture, ...], [target, ...]), since sizes differ."""
    pictures, targets = zip(*batch, strict=True)
    return list(pictures), list(targets)
