"""What the sources share: where official archives unpack to, and names of classes."""

from pathlib import Path

from fvcore.common.config import CfgNode

from mutualvideo.data.annotations import Place, read_lines
from mutualvideo.errors import InputError

NUM_OFFICIAL_SPLITS = 3


def official_split(cfg: CfgNode) -> int:
    """``DATA.SPLIT``, checked: 1, 2 or 3."""
    if not 1 <= cfg.DATA.SPLIT <= NUM_OFFICIAL_SPLITS:
        raise InputError(
            f"DATA.SPLIT is {cfg.DATA.SPLIT}: choose one of the official splits, "
            f"1 to {NUM_OFFICIAL_SPLITS}"
        )
    return cfg.DATA.SPLIT


def lists_folder(cfg: CfgNode, name: str) -> Path:
    """The folder ``name`` in ``DATA.PATH_TO_DATA_DIR``, or that itself where there is none."""
    folder = Path(cfg.DATA.PATH_TO_DATA_DIR)
    return folder / name if (folder / name).is_dir() else folder


def videos_place(cfg: CfgNode, folder: Path) -> Place:
    """The ``Place`` of the videos: ``DATA.PATH_PREFIX``; empty: ``folder``."""
    data = cfg.DATA
    return Place(data.PATH_PREFIX or folder, not data.PATH_PREFIX or data.ALLOW_ABSOLUTE_PATHS)


def check_classes(path: Path, names: list[str], cfg: CfgNode) -> None:
    """Raises ``InputError`` unless ``path`` names as many classes as MODEL.NUM_CLASSES.

    0 there means: as many as the data have, whatever that is.
    """
    if cfg.MODEL.NUM_CLASSES not in (0, len(names)):
        raise InputError(
            f"{path}: {len(names)} names, but MODEL.NUM_CLASSES is {cfg.MODEL.NUM_CLASSES}; "
            f"set it to {len(names)} to train a network; one that was trained keeps its classes: "
            "evaluate it on lists of those"
        )


def read_class_names(cfg: CfgNode) -> list[str] | None:
    """Lines of ``classes.txt`` in ``DATA.PATH_TO_DATA_DIR``; ``None`` if there is no such file.

    Raises:
        InputError: if it cannot be read, or its lines are not as many as MODEL.NUM_CLASSES.
    """
    path = Path(cfg.DATA.PATH_TO_DATA_DIR) / "classes.txt"
    if not path.exists():
        return None
    names = []
    for number, line in read_lines(path, "class name", "write one a line, or delete it"):
        if line in names:
            raise InputError(f"{path}:{number}: {line!r} is there twice; give each class its name")
        names.append(line)
    check_classes(path, names, cfg)
    return names
