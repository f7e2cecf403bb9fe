"""The registry of data sets."""

from fvcore.common.registry import Registry

from mutualvideo.errors import InputError

DATASET_REGISTRY = Registry("DATASET")
DATASET_REGISTRY.__doc__ = """
Data sets by name: functions ``(cfg, split) -> VideoList``, where split is ``train``, ``val`` or
``test``.
"""


def read_videos(name, cfg, split):
    """What the registered data set ``name`` holds in ``split``.

    Args:
        name: as in ``TRAIN.DATASET``.
        cfg: the configuration; ``DATA.PATH_TO_DATA_DIR`` says where the lists lie.
        split: ``train``, ``val`` or ``test``.

    Returns:
        :class:`~mutualvideo.data.annotations.VideoList`.

    Raises:
        InputError: if the name is not registered, no folder is given, or as the source does.
    """
    if name not in DATASET_REGISTRY:
        known = ", ".join(sorted(key for key, _ in DATASET_REGISTRY))
        raise InputError(f"DATASET {name!r} is unknown; choose from: {known}")
    if not cfg.DATA.PATH_TO_DATA_DIR:
        raise InputError("DATA.PATH_TO_DATA_DIR is empty: name the folder that holds the lists")
    return DATASET_REGISTRY.get(name)(cfg, split)
