"""How pixels become what a network is fed: the values that a table's accuracies were found with."""

from __future__ import annotations

from typing import Any

from mutualvideo.errors import InputError, shown
from mutualvideo.table.query import QueryTable

# Keys of the DATA section, and what they must be.
FEEDING: dict[str, Any] = {
    "SAMPLING_RATE": int,
    "TARGET_FPS": (int, float),
    "TEST_CROP_SIZE": int,
    "TEST_CROP_SHARE": (int, float),
    "MEAN": list,
    "STD": list,
}


def feeding(cfg: Any) -> dict[str, Any]:
    """``{key: value}`` of ``cfg.DATA``, as JSON values."""
    values = {key: getattr(cfg.DATA, key) for key in FEEDING}
    return {key: list(v) if FEEDING[key] is list else v for key, v in values.items()}


def is_right(value: Any, kind: Any) -> bool:
    """Whether a value is a positive number of that kind, or a list of numbers."""
    if not isinstance(value, kind) or isinstance(value, bool):
        return False
    return all(_is_number(one) for one in value) if kind is list else value > 0


def fed_as(cfg: Any, table: QueryTable) -> Any:
    """``cfg`` with the values of ``table``, which may have been made with others than the network
    was trained with.

    Raises:
        InputError: naming the value of the metadata (``data``) that is wrong.
    """
    found = table.metadata.get("data")
    if found is None:  # tables of before do not say it
        return cfg
    if not isinstance(found, dict) or found.keys() != FEEDING.keys():
        raise InputError(f"query table: metadata 'data' is {shown(found)}; make the table anew")
    for key, value in found.items():
        if not is_right(value, FEEDING[key]):
            raise InputError(f"query table: metadata 'data' has {key} {shown(value)}")
    frozen, cfg = cfg.is_frozen(), cfg.clone()
    cfg.defrost()
    for key, value in found.items():
        setattr(cfg.DATA, key, value)
    if frozen:
        cfg.freeze()
    return cfg


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
