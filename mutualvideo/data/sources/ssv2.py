"""Something-Something V2 by its official JSON files, with videos or pictures."""

import json
from pathlib import Path

from fvcore.common.config import CfgNode

from mutualvideo.data.annotations import Video, VideoList, unreadable
from mutualvideo.data.sources.archives import check_classes, lists_folder, videos_place
from mutualvideo.data.sources.dataset_registry import DATASET_REGISTRY
from mutualvideo.data.sources.frame_lists import is_frame_list, read_frame_list
from mutualvideo.errors import InputError, shown

# Names of the three files, with 20BN's first release and with Qualcomm's.
_NAMES = (
    "something-something-v2-{}.json",
    "labels/{}.json",
    "{}.json",
)
_ADVICE = (
    "point DATA.PATH_TO_DATA_DIR to the folder that holds something-something-v2-labels.json or "
    "labels/labels.json"
)
# A video may be missing; so many are not.
_NUM_PROBED = 100


@DATASET_REGISTRY.register()
def ssv2(cfg: CfgNode, split: str) -> VideoList:
    """Train; val and test are both the official validation set, which the papers report.

    In ``DATA.PATH_TO_DATA_DIR``: ``something-something-v2-labels.json``, ``...-train.json`` and
    ``...-validation.json``, or ``labels.json``, ``train.json`` and ``validation.json`` there or
    in ``labels``. The videos lie in ``DATA.PATH_PREFIX``; where that is empty, in
    ``20bn-something-something-v2`` below ``DATA.PATH_TO_DATA_DIR`` or in that itself. They are:

    - what PySlowFast's frame list says, where ``train.csv`` (``val.csv``) beside the JSON is one;
    - otherwise ``ID.webm``, ``ID.mp4`` or folders ``ID`` of pictures: whichever is found for
      one of the first entries. Decoding finds out about the others.

    Raises:
        InputError: for missing or bad files, with the entry.
    """
    labels_path, path = _find(Path(cfg.DATA.PATH_TO_DATA_DIR), split)
    labels = _read_labels(labels_path)
    check_classes(labels_path, labels, cfg)
    entries = [
        _parse(entry, f"{path}: entry {number}", labels, labels_path)
        for number, entry in enumerate(_read_json(path, list, "a list of videos"), 1)
    ]
    if not entries:
        raise InputError(f"{path}: holds no video; {_ADVICE}")
    frame_list = path.parent / ("train.csv" if split == "train" else "val.csv")
    if is_frame_list(frame_list):
        videos = _from_frame_list(entries, path, frame_list, cfg)
    else:
        videos = _from_files(entries, path, cfg)
    classes = sorted(labels, key=labels.get)
    return VideoList(str(path), videos, segments=True, mirrored=False, classes=classes)


def _find(folder, split):
    """Paths of the labels and of the list."""
    name = "train" if split == "train" else "validation"
    for names in _NAMES:
        if (folder / names.format("labels")).exists():
            return folder / names.format("labels"), folder / names.format(name)
    raise InputError(f"{folder / _NAMES[0].format('labels')}: no such file; {_ADVICE}")


def _read_json(path, kind, what):
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}: not JSON ({error.msg}); download it again"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, what, error, _ADVICE) from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits; nested deeply
        raise InputError(f"{path}: not JSON ({error}); download it again") from None
    if not isinstance(content, kind):
        raise InputError(f"{path}: is not {what}; take the official file")
    return content


def _read_labels(path):
    """{text of the class: label}."""
    labels = {}
    for text, index in _read_json(path, dict, "a table of labels").items():
        try:
            labels[text] = int(index)
        except (TypeError, ValueError, OverflowError):
            raise InputError(
                f"{path}: {shown(text)}: the label {shown(index)} is not an integer; take the "
                "official file"
            ) from None
    if sorted(labels.values()) != list(range(len(labels))):
        raise InputError(f"{path}: the labels are not 0 .. {len(labels) - 1}; number them so")
    return labels


def _parse(entry, where, labels, labels_path):
    """(id, label) of one entry of a list."""
    found = entry if isinstance(entry, dict) else {}
    for key in ("id", "template"):
        if not isinstance(found.get(key), str):
            raise InputError(f"{where}: has no text {key!r}; take the official file")
    text = found["template"].replace("[", "").replace("]", "")
    if text not in labels:
        raise InputError(
            f"{where} (id {found['id']}): the template {shown(text)} is not in {labels_path}; take "
            "the files of one release"
        )
    return found["id"], labels[text]


def _from_frame_list(entries, path, frame_list, cfg):
    place = videos_place(cfg, frame_list.parent)
    listed = read_frame_list(frame_list)
    videos = []
    for number, (name, label) in enumerate(entries, 1):
        if name not in listed:
            raise InputError(
                f"{path}: entry {number}: {frame_list} has no picture of the id {name}; take the "
                "frame list of this release, or remove it to read videos"
            )
        found = listed[name]
        videos.append(
            Video(
                place.join(found.folder, f"{frame_list}:{found.line}"),
                label,
                number,
                name,
                fps=cfg.DATA.TARGET_FPS,
                frames=found.frames,
            )
        )
    return videos


def _from_files(entries, path, cfg):
    place = videos_place(cfg, lists_folder(cfg, "20bn-something-something-v2"))
    paths = [
        place.join(name, f"{path}: entry {number}") for number, (name, _) in enumerate(entries, 1)
    ]
    for found in map(Path, paths[:_NUM_PROBED]):
        ending = next((e for e in (".webm", ".mp4") if Path(f"{found}{e}").is_file()), None)
        if ending is None and found.is_dir():
            ending = ""
        if ending is not None:
            break
    else:
        raise InputError(
            f"{path}: entry 1: there is neither {paths[0]}.webm nor .mp4 nor a folder "
            "of pictures of that name; point DATA.PATH_PREFIX to the folder of the videos"
        )
    # Segments do not depend on the frame rate, which a folder of pictures does not say.
    fps = None if ending else cfg.DATA.TARGET_FPS
    return [
        Video(f"{found}{ending}", label, number, name, fps=fps)
        for number, ((name, label), found) in enumerate(zip(entries, paths, strict=True), 1)
    ]
