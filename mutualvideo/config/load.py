"""Reads YAML files and command-line overrides into a checked configuration."""

import difflib
import os
from collections.abc import Iterable, Mapping
from typing import Any

from fvcore.common.config import CfgNode

from mutualvideo.config.defaults import get_cfg
from mutualvideo.config.foreign_files import is_theirs, translate
from mutualvideo.config.named_files import find_config, is_named
from mutualvideo.config.retired_keys import is_retired, refuse_if_changed, warn_if_changed
from mutualvideo.config.text_values import (
    Written,
    from_command_line,
    literal,
    number_of,
    of_yaml,
    plain,
)
from mutualvideo.errors import InputError, shown
from mutualvideo.extensions import load_extensions, locate_extension, missing_extensions
from mutualvideo.files import atomic_path
from mutualvideo.registry import NETWORKS

_BASE = "_BASE_"
_COMMAND_LINE = "command line"


def load_cfg(path: str | os.PathLike[str] | None = None, overrides: Iterable[str] = ()) -> CfgNode:
    """Defaults, then the YAML file, then the overrides.

    A file may say ``_BASE_: other.yaml``, or a list of files: their values hold where it gives no
    other, as in fvcore's ``CfgNode``. Paths are relative to the file that names them. The name of a
    configuration of the package will do where there is no such file: ``Kinetics/X3D_M_mutual``.
    Files and modules that EXTENSIONS names are imported first.

    PySlowFast's YAML files load unchanged, or are refused: keys of theirs that change nothing here
    are named in one warning, values of theirs that decide about something that is not offered are
    errors, see :mod:`mutualvideo.config.foreign_keys`.

    Args:
        path: YAML file, or the name of one in the package, or ``None``.
        overrides: ``[KEY, VALUE, KEY, VALUE, ...]``, strings as typed on a command line.

    Returns:
        CfgNode of every key of :func:`get_cfg`.

    Raises:
        InputError: for an unreadable file, files that are based on each other, an unknown key (the
            nearest known one is named), a value of the wrong type or of PySlowFast's that is not
            offered, an override without a value, or an extension that cannot be imported.
    """
    return trace_cfg(path, overrides)[0]


def trace_cfg(
    path: str | os.PathLike[str] | None = None, overrides: Iterable[str] = ()
) -> tuple[CfgNode, dict[str, str]]:
    """:func:`load_cfg`, and who gave each value.

    Returns:
        ``(cfg, {key: the path of a file, or "command line"})``; keys that nobody gave are left out.
    """
    # What is based on nothing decides whose files these are: an override, or a file that is based
    # on one of ours, may have a key of PySlowFast's.
    roots: list[str] = []
    given = [] if path is None else list(_with_bases(find_config(path), (), roots))
    overrides = in_pairs(overrides)
    for key, text in zip(overrides[::2], overrides[1::2], strict=True):
        given.append((key, from_command_line(text), _COMMAND_LINE))
    extensions = _extensions(given)
    is_foreign = any(
        is_theirs(key) for key, _, origin in given if origin in (roots or [_COMMAND_LINE])
    )
    cfg = get_cfg()
    last: dict[Any, tuple[Any, str]] = {}
    for key, value, origin in given:
        last.pop(key, None)
        last[key] = value, origin
    found = translate(last, is_foreign)
    for key, (value, origin) in found.items():
        if is_retired(key):
            refuse_if_changed(key, value, origin)
        else:
            _assign(cfg, key, value, origin)
    cfg.EXTENSIONS = extensions
    _complete_arch(cfg)
    return cfg, {str(key): origin for key, (_, origin) in found.items()}


def trace_run(
    path: str | os.PathLike[str] | None = None, overrides: Iterable[str] = ()
) -> tuple[CfgNode, dict[str, str]]:
    """:func:`trace_cfg` for a run, which has data: what nobody gave may follow from these.

    MODEL.NUM_CLASSES, where nobody gave it, is 0: as many as the data have.
    """
    cfg, origins = trace_cfg(path, overrides)
    if "MODEL.NUM_CLASSES" not in origins:
        cfg.MODEL.NUM_CLASSES = 0
        origins["MODEL.NUM_CLASSES"] = "as many as the data have"
    return cfg, origins


def in_pairs(overrides: Iterable[str]) -> list[str]:
    """``[KEY, VALUE, ...]`` as a list, to be looked at before anything is appended.

    Raises:
        InputError: if the last one has no value.
    """
    found = list(overrides)
    if len(found) % 2:
        raise InputError(f"{found[-1]}: this override has no value; give KEY VALUE pairs")
    return found


def save_cfg(cfg: CfgNode) -> None:
    """Writes ``cfg`` to ``config.yaml`` in its OUTPUT_DIR, whole or not at all."""
    with atomic_path(os.path.join(cfg.OUTPUT_DIR, "config.yaml")) as path:
        path.write_text(cfg.dump(), encoding="utf-8")


def cfg_from_dict(values: Mapping[str, Any], origin: str) -> CfgNode:
    """A configuration from the nested dict that a checkpoint carries; ``origin`` names it.

    The extensions that it names are not imported: they would run code that the file chose.
    """
    cfg = get_cfg()
    try:
        for key, value in _flatten(values):
            if is_retired(key):
                warn_if_changed(key, value, origin)
            else:
                _assign(cfg, key, value, origin)
    except InputError as error:
        absent = missing_extensions(values.get("EXTENSIONS"))
        raise InputError(f"{error}{absent and '; '}{absent}") from error
    return cfg


def cfg_to_dict(cfg: CfgNode) -> dict[str, Any]:
    """Nested plain dict of ``cfg``: what a checkpoint carries."""
    return {k: cfg_to_dict(v) if isinstance(v, CfgNode) else v for k, v in cfg.items()}


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """``{key: (old, new)}`` of two nested plain dicts; ``None`` where one has no such key."""
    old, new = dict(_flatten(before)), dict(_flatten(after))
    keys = dict.fromkeys([*old, *new])
    return {k: (old.get(k), new.get(k)) for k in keys if old.get(k) != new.get(k)}


def _complete_arch(cfg):
    """MODEL.ARCH, where nobody gave it, follows from the network."""
    if not cfg.MODEL.ARCH and (about := NETWORKS.all().get(cfg.MODEL.MODEL_NAME)):
        cfg.MODEL.ARCH = next(iter(about.archs), "")


def _with_bases(path, above, roots):
    """(key, value, the file) of every key of the files that ``path`` is based on, then its own.

    Files that are based on none are added to ``roots``.
    """
    place = os.path.realpath(path)
    if place in above:
        raise InputError(f"{path}: is based on itself, through {_BASE}")
    values = _read_yaml(path)
    bases = plain(values.pop(_BASE, []))
    bases = [bases] if isinstance(bases, str) else bases
    if not (isinstance(bases, list) and all(isinstance(base, str) for base in bases)):
        raise InputError(f"{path}: {_BASE} is {shown(bases)}, expected a file, or a list of files")
    if not bases:
        roots.append(path)
    for base in bases:
        where = os.path.join(os.path.dirname(path), os.path.expanduser(base))
        where = os.path.normpath(where)
        if not os.path.isfile(where) and is_named(base):
            where = find_config(base)
        yield from _with_bases(where, (*above, place), roots)
    for key, value in _flatten(values):
        yield key, value, path


def _extensions(given):
    """Imports what the last EXTENSIONS of ``given`` names; returns it with absolute paths."""
    for key, names, origin in reversed(given):
        if key == "EXTENSIONS":
            names = _convert(key, names, [], origin)
            folder = "" if origin == _COMMAND_LINE else os.path.dirname(origin)
            names = [locate_extension(name, folder) for name in names]
            load_extensions(names, origin)
            return names
    return []


def _read_yaml(path):
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such config file")
    try:
        with open(path, encoding="utf-8") as file:
            values = of_yaml(file.read())
    # Beside its own errors PyYAML lets through whatever dates, numbers and tags raise.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a YAML file ({reason})") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected sections such as MODEL: and DATA:")
    return values


def _flatten(values, prefix="", depth=0):
    """(key, value) of sections and what is in them; not endless: a file may refer to itself."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and depth < _DEPTH:
            yield from _flatten(value, f"{name}.", depth + 1)
        else:
            yield name, value


def _known_keys(cfg):
    return [key for key, _ in _flatten(cfg)]


def _assign(cfg, key, value, origin):
    *sections, leaf = str(key).split(".")
    node = cfg
    for section in sections:
        node = node.get(section) if isinstance(node, CfgNode) else None
    known = isinstance(node, CfgNode) and leaf in node and not isinstance(node[leaf], CfgNode)
    if not known:
        key = key if len(key) <= 100 else f"{key[:100]}..."
        nearest = difflib.get_close_matches(key, _known_keys(cfg), n=1, cutoff=0.0)
        raise InputError(f"{origin}: unknown key {key}; the nearest known key is {nearest[0]}")
    node[leaf] = _convert(key, value, node[leaf], origin)


def _convert(key, value, default, origin):
    """``value`` as the type of ``default``, where nothing is lost by it."""
    expected = type(default)
    if expected is str:
        value = _text(key, value)
    elif isinstance(value, Written):
        is_number = type(value.value) in (int, float) and origin != _COMMAND_LINE
        value = number_of(value, key, origin) if is_number else value.value
    if isinstance(value, str) and expected in (float, list):
        # YAML 1.1 reads 5e-5 as a string, for want of a dot, and (1, 2) for want of brackets.
        read = literal(value)
        value = read if isinstance(read, (int, float, tuple, list)) else value
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        value = _as_float(value)
    if expected is list and isinstance(value, tuple):
        value = list(value)
    if type(value) is not expected:
        names = {float: "a number", int: "a whole number", bool: "True or False", str: "text"}
        wanted = names.get(expected, "a list such as [1, 2]")
        raise InputError(f"{origin}: {key} is {shown(value)}, expected {wanted}")
    if expected is list:
        value = [_convert_item(key, item, default, origin) for item in value]
    return value


def _text(key, value):
    """A text as it was written, whatever else it could be read as; nothing is no text."""
    if isinstance(value, Written):
        value = value.text
    value = "" if value is None else value
    if key == "DATA.PATH_LABEL_SEPARATOR" and isinstance(value, str):
        # Nobody can type a tab on a command line.
        value = value.replace("\\t", "\t")
    return value


def _convert_item(key, item, default, origin):
    wanted = type(default[0]) if default else _ITEMS[key]
    if default and wanted is list:
        return _row_of_numbers(key, plain(item), origin)
    if wanted is list:
        return _nested(key, plain(item), origin, depth=2)
    if wanted is str:
        item = item.text if isinstance(item, Written) else item
    elif isinstance(item, Written):
        is_number = type(item.value) in (int, float)
        item = number_of(item, key, origin) if is_number else item.value
    item = _as_float(item) if wanted is float and type(item) is int else item
    if type(item) is not wanted:
        kind = {float: "numbers", int: "whole numbers", str: "texts"}[wanted]
        raise InputError(f"{origin}: {key} contains {shown(item)}, expected a list of {kind}")
    return item


def _row_of_numbers(key, item, origin):
    """A list of numbers, as floats."""
    row = (
        [_as_float(one) if type(one) is int else one for one in item] if type(item) is list else []
    )
    if not row or any(type(one) is not float for one in row):
        raise InputError(f"{origin}: {key} contains {shown(item)}, expected lists of numbers")
    return row


def _nested(key, item, origin, depth):
    """Whole numbers in lists, as deep as any key has them."""
    if isinstance(item, list) and depth:
        return [_nested(key, one, origin, depth - 1) for one in item]
    if type(item) is not int or depth == 2:
        raise InputError(f"{origin}: {key} contains {shown(item)}, expected lists of whole numbers")
    return item


def _as_float(number):
    """``number`` as a float, or itself, an int, if no float is as large."""
    try:
        return float(number)
    except OverflowError:
        return number


# Of sections within sections: none here, two in PySlowFast.
_DEPTH = 3

# What lists that are empty by default hold.
_ITEMS = {
    "DATA.TRAIN_JITTER_SCALES_RELATIVE": float,
    "DATA.TRAIN_JITTER_ASPECT_RELATIVE": float,
    "DETECTOR.ANCHOR_SIZES": int,
    "DETECTOR.PICTURE": int,
    "EXTENSIONS": str,
    "MUTUAL.WIDTHS": float,
    "MUTUAL.SIZES": int,
    "MUTUAL.FRAMES": int,
    "NONLOCAL.LOCATION": list,
    "NONLOCAL.POOL": list,
    "RESNET.NUM_BLOCK_TEMP_KERNEL": list,
    "SOLVER.LRS": float,
    "SOLVER.STEPS": float,
    "TABLE.WIDTHS": float,
    "TABLE.FRAMES": int,
    "TABLE.SIZES": int,
    "TABLE.SUBNETS": str,
}
