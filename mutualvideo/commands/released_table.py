"""A table without training: a released network on one's own videos, with labels of its classes."""

import difflib
import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from fvcore.common.config import CfgNode

from mutualvideo.config import in_pairs, trace_cfg
from mutualvideo.data.annotations import Video, read_annotations
from mutualvideo.data.sources import read_videos
from mutualvideo.errors import InputError
from mutualvideo.files import atomic_path
from mutualvideo.models.weights.released_networks import class_names, released_network
from mutualvideo.models.weights.zoo import PREFIX, released

# Folder of OUTPUT_DIR with the lists that are written.
LISTS = "lists"
NOTE = (
    "widths need training: released weights have one. This table is adaptive in frames and size; "
    "for widths train from them: mutualvideo train FOLDER TRAIN.CHECKPOINT_FILE_PATH {name}"
)
_MOST_CLIPS = 8  # of a batch


def released_run(
    weights: str, videos: str, output: str, overrides: Iterable[str] = ()
) -> tuple[CfgNode, str]:
    """The configuration of a table of released weights on one's own videos; writes their lists.

    Half of every class's videos, or those of a folder or list ``train``, calibrate BatchNorm
    statistics, which needs no labels. On the others accuracy is measured; on them it is also chosen
    for every sub-network whether it has these statistics or the network's own (TABLE.STATISTICS).

    Args:
        weights: ``zoo:`` and a name of ``mutualvideo weights``.
        videos: a folder of class folders, named as the classes of the weights are; or a list
            (``path label``, labels of the weights), or a folder with ``train.csv`` and ``val.csv``.
        output: OUTPUT_DIR; ``lists`` in it gets ``train.csv``, ``val.csv`` and ``classes.txt``.
        overrides: ``[KEY, VALUE, ...]``.

    Returns:
        ``(cfg, what was found, for people)``.

    Raises:
        InputError: for unknown weights, class folders of other names, or bad lists.
    """
    if not weights.startswith(PREFIX):
        raise InputError(
            f"--weights {weights}: give a name of `mutualvideo weights`, such as zoo:x3d_m; of a "
            "file of your own: --cfg CONFIG --checkpoint FILE"
        )
    network, names = released_network(weights), class_names(weights)
    overrides = in_pairs(overrides)
    cfg, _ = trace_cfg(None, overrides)
    count = cfg.MODEL.NUM_CLASSES if names is None else len(names)
    parts = _videos_of(videos, cfg, count, names, weights)
    lists = os.path.join(output, LISTS)
    write_lists(lists, parts, names)
    frames, rate, size = network.clip
    given = {
        **network.keys,
        "DATA.NUM_FRAMES": frames,
        "DATA.SAMPLING_RATE": rate,
        "DATA.TRAIN_CROP_SIZE": size,
        "DATA.TEST_CROP_SIZE": size,
        "DATA.TRAIN_JITTER_SCALES": list(network.jitter),
        "DATA_LOADER.NUM_WORKERS": max(0, min(4, (os.cpu_count() or 1) - 1)),
        "MODEL.NUM_CLASSES": count,
        "TRAIN.ENABLE": False,
        "TRAIN.DATASET": "kinetics",
        "TEST.DATASET": "kinetics",
        "TRAIN.BATCH_SIZE": min(_MOST_CLIPS, len(parts["train"])),
        "TEST.BATCH_SIZE": _MOST_CLIPS,
        "TEST.NUM_ENSEMBLE_VIEWS": 1,
        "TEST.NUM_SPATIAL_CROPS": 1,
        "TABLE.WIDTHS": [1.0],
        "TABLE.FRAMES": list(network.frames),
        "TABLE.SIZES": list(network.sizes),
        "TABLE.STATISTICS": "best",
    }
    ours = [text for key, value in given.items() for text in (key, str(value))]
    # Where the lists lie, and what they hold, nobody else can say.
    fixed = ["DATA.PATH_TO_DATA_DIR", lists, "DATA.PATH_LABEL_SEPARATOR", " "]
    fixed += ["DATA.PATH_PREFIX", "", "OUTPUT_DIR", output]
    cfg, _ = trace_cfg(None, [*ours, *overrides, *fixed])
    seen = {video.label for video in parts["val"]}
    what = (
        f"{released(weights).network} of {released(weights).dataset}: {len(parts['train'])} videos "
        f"to calibrate on, {len(parts['val'])} of {len(seen)} of its {count} classes to measure on"
    )
    return cfg, what


def _videos_of(
    place: str, cfg: CfgNode, count: int, names: Sequence[str] | None, weights: str
) -> dict[str, list[Video]]:
    """``{"train": videos, "val": videos}`` with the labels of the weights."""
    if not os.path.exists(place):
        raise InputError(
            f"--videos {place}: no such folder or list; name a folder of class folders"
        )
    folder = Path(place)
    if folder.is_file():
        return halves(_listed(folder, cfg, count))
    if (folder / "val.csv").is_file():
        if not (folder / "train.csv").is_file():
            return halves(_listed(folder / "val.csv", cfg, count))
        return {name: _listed(folder / f"{name}.csv", cfg, count) for name in ("train", "val")}
    cfg = cfg.clone()
    cfg.DATA.PATH_TO_DATA_DIR, cfg.MODEL.NUM_CLASSES = place, 0
    if cfg.DATA.VAL_SHARE == trace_cfg()[0].DATA.VAL_SHARE:
        cfg.DATA.VAL_SHARE = 0.5  # nothing is trained: half is enough to calibrate on
    lists = {name: read_videos("videofolder", cfg, name) for name in ("train", "val")}
    labels = labels_of(lists["train"].classes or [], names, place, weights)
    return {
        name: [replace(video, label=labels[video.label]) for video in one.videos]
        for name, one in lists.items()
    }


def _listed(path: Path, cfg: CfgNode, count: int) -> list[Video]:
    data = cfg.DATA
    return read_annotations(
        path, data.PATH_LABEL_SEPARATOR, data.PATH_PREFIX, count, data.ALLOW_ABSOLUTE_PATHS
    )


def labels_of(
    folders: Sequence[str], names: Sequence[str] | None, place: str, weights: str
) -> list[int]:
    """The label that the weights have for the class of each folder's name.

    Case, and what is neither letter nor digit, make no difference: ``playing_guitar``.

    Raises:
        InputError: for a name that is no class of the weights; says what is near, and what to do.
    """
    advice = "give a list by --videos LIST.csv, a line `path label` a video, with their labels"
    if names is None:
        raise InputError(f"{place}: the names of the classes of {weights} are not known; {advice}")
    known = {_plain(name): label for label, name in enumerate(names)}
    strange = [folder for folder in folders if _plain(folder) not in known]
    if strange:
        near = difflib.get_close_matches(_plain(strange[0]), known, n=3, cutoff=0.5)
        hint = f" (near: {', '.join(names[known[one]] for one in near)})" if near else ""
        more = f", nor are {len(strange) - 1} other folders" if len(strange) > 1 else ""
        raise InputError(
            f"{os.path.join(place, strange[0])}: is no class of {weights}{hint}{more}; rename it "
            f"as one of its {len(names)} classes, or {advice}, 0 to {len(names) - 1}; for classes "
            "of your own train: mutualvideo train FOLDER"
        )
    return [known[_plain(folder)] for folder in folders]


def _plain(name: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", name.replace("'", "").casefold()))


def halves(videos: Sequence[Video]) -> dict[str, list[Video]]:
    """The videos of a list, half of each class to calibrate on; of one alone: to measure on.

    Where that leaves none to calibrate on, all are: calibration reads no labels.
    """
    classes = defaultdict(list)
    for video in videos:
        classes[video.label].append(video)
    parts: dict[str, list[Video]] = {"train": [], "val": []}
    for members in classes.values():
        members.sort(key=lambda one: hashlib.sha256(one.name.encode()).digest())
        parts["train"] += members[: len(members) // 2]
        parts["val"] += members[len(members) // 2 :]
    return {"train": parts["train"] or parts["val"], "val": parts["val"]}


def write_lists(folder: str, parts: dict[str, list[Video]], names: Sequence[str] | None) -> None:
    """``train.csv`` and ``val.csv`` with absolute paths, and ``classes.txt``."""
    os.makedirs(folder, exist_ok=True)
    texts = {
        f"{split}.csv": [f"{os.path.abspath(one.path)} {one.label}" for one in videos]
        for split, videos in parts.items()
    }
    if names is not None:
        texts["classes.txt"] = list(names)
    for name, lines in texts.items():
        with atomic_path(os.path.join(folder, name)) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
