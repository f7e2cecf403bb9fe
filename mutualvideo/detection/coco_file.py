"""COCO's json of pictures, categories and boxes, checked before anything is trained on it."""

import math
from dataclasses import dataclass

from mutualvideo.documents import read_json
from mutualvideo.errors import InputError, shown


@dataclass(frozen=True)
class CocoFile:
    """What an annotation file holds, by number.

    Attributes:
        path: the file.
        pictures: ``{id: {"id", "file_name", "width", "height", ...}}``, by id.
        categories: ``{id: name}``, by id.
        objects: ``{id of a picture: [annotation, ...]}``, as they are in the file; every picture
            has a list, which may be empty.
    """

    path: str
    pictures: dict
    categories: dict
    objects: dict


def read_coco_file(path):
    """Reads and checks annotations in COCO's format for detection.

    Args:
        path: the json file: ``images``, ``categories`` and ``annotations``.

    Returns:
        :class:`CocoFile`.

    Raises:
        InputError: naming the file and the entry, if it cannot be read, if an id comes twice or is
            not in the file, if a box is not four finite numbers, or if there is no annotation.
    """
    path = str(path)
    content = read_json(path)
    lists = ("images", "categories", "annotations")
    if not isinstance(content, dict) or not all(isinstance(content.get(n), list) for n in lists):
        raise InputError(
            f"{path}: is no COCO file for detection: it needs the lists {', '.join(lists)}"
        )
    pictures = _by_id(path, "images", content["images"])
    for key, picture in pictures.items():
        if not isinstance(picture.get("file_name"), str) or not picture["file_name"]:
            raise InputError(f"{path}: image {key} has no file_name")
        for side in ("width", "height"):
            if not _is_whole(picture.get(side)) or picture[side] < 1:
                raise InputError(f"{path}: image {key}: its {side} must be at least 1 pixel")
    categories = {}
    for key, category in _by_id(path, "categories", content["categories"]).items():
        if not isinstance(category.get("name"), str):
            raise InputError(f"{path}: category {key} has no name")
        categories[key] = category["name"]
    annotations = _by_id(path, "annotations", content["annotations"])
    if not annotations:
        raise InputError(f"{path}: has no annotation, so there is nothing to learn or to find")
    objects = {key: [] for key in pictures}
    for key, annotation in annotations.items():
        for name, known in (("image_id", pictures), ("category_id", categories)):
            if not _is_whole(annotation.get(name)) or annotation[name] not in known:
                raise InputError(
                    f"{path}: annotation {key}: {name} {shown(annotation.get(name))} is not in "
                    "the file"
                )
        if not _is_box(annotation.get("bbox")):
            raise InputError(
                f"{path}: annotation {key}: bbox {shown(annotation.get('bbox'))}: expected "
                "[x, y, width, height] in pixels, width and height not negative"
            )
        objects[annotation["image_id"]].append(annotation)
    return CocoFile(path, pictures, categories, objects)


def _by_id(path, what, entries):
    found = {}
    for number, entry in enumerate(entries, 1):
        key = entry.get("id") if isinstance(entry, dict) else None
        if not _is_whole(key):
            raise InputError(f"{path}: entry {number} of {what} has no id, a whole number")
        if key in found:
            raise InputError(f"{path}: {what} has the id {key} twice")
        found[key] = entry
    return dict(sorted(found.items()))


def _is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_box(value):
    good = isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))
    return good and min(value[2:]) >= 0
