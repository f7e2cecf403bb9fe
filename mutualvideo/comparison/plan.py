"""A plan: which trainings are compared, as a YAML file."""

import os
from dataclasses import dataclass

import yaml
from fvcore.common.config import CfgNode

from mutualvideo.config import load_cfg
from mutualvideo.config.named_files import is_named
from mutualvideo.errors import InputError, shown
from mutualvideo.subnet import Subnet

_KEYS = {"BASE", "KEYS", "SEEDS", "FOLDS", "ROWS", "ARMS", "AGAINST", "PLOT", "CURVES"}
_ARM_KEYS = {"KEYS", "SEEDS", "EACH_ROW", "SAME", "GONE"}
# Keys that a comparison sets by itself, run by run.
_OWN = {"RNG_SEED": "SEEDS", "OUTPUT_DIR": "--runs"}


@dataclass(frozen=True)
class Run:
    """One training of a plan, with its table.

    Attributes:
        arm: name of the arm that it belongs to.
        seed: RNG_SEED.
        fold: number of the fold, or ``None``.
        alone: the sub-network that trains alone, as text, or ``None``.
        folder: where it goes, relative to the folder of all runs.
        overrides: ``[KEY, VALUE, ...]`` on top of the base configuration, texts.
    """

    arm: str
    seed: int
    fold: int | None
    alone: str | None
    folder: str
    overrides: tuple


@dataclass(frozen=True)
class Plan:
    """What a plan file says.

    Attributes:
        path: the file.
        base: path of the base configuration.
        rows: sub-networks that are reported, as texts; empty: all that any table has.
        arms: ``{name: arm}``, in the order of the file.
        same: ``{arm: {row: other arm}}``: rows that another arm's runs stand for, because they are
            the same training.
        gone: ``{arm: what it was trained with}``: arms that are reported, and cannot be trained.
        pairs: ``[(arm, against), ...]``: differences that are reported.
        plotted: names of the arms that the plot shows.
        curves: ``{name: arms}``: what the plot of accuracy against training joins by a line.
        runs: list of :class:`Run`.
        patient: names of the arms whose runs end when they get no better (``TRAIN.PATIENCE``).
    """

    path: str
    base: str
    rows: tuple
    arms: tuple
    same: dict
    gone: dict
    pairs: tuple
    plotted: tuple
    curves: dict
    runs: tuple
    patient: frozenset


def read_plan(path, overrides=()):
    """Reads a plan.

    ``BASE`` is a configuration file, beside the plan or as the path says, or the name of one of the
    package; ``KEYS`` overrides for
    all arms. ``SEEDS`` (RNG_SEED) and ``FOLDS`` (a number; ``{fold}`` in values of keys is replaced
    by 0 and on) are what every arm is repeated over. ``ARMS`` maps a name to ``KEYS`` of its own
    (and ``SEEDS``, if it has others), and, if it trains sub-networks alone, to ``EACH_ROW``, a list
    of them: one run for each.
    ``SAME`` of such an arm names rows that another arm trains anyway, ``{1x32: single}``.
    ``GONE`` says what an arm was trained with that this version has no more: it stays in the
    report, from the records that there are, and is not trained.
    ``AGAINST`` lists pairs ``[arm, other]`` whose differences are reported, ``ROWS`` the rows,
    ``PLOT`` the arms that the plot shows, if not all. ``CURVES`` maps names to lists of arms, which
    a second plot shows by what their training took.

    Args:
        path: the YAML file.
        overrides: ``[KEY, VALUE, ...]`` for all arms, as typed on a command line; they outdo the
            plan's keys, but for what makes a run of EACH_ROW one of that row alone.

    Raises:
        InputError: naming what is wrong; also for a key that an arm's configuration does not have.
    """
    content = _read(path)
    _require_known(path, content, _KEYS, "")
    for key in ("BASE", "ARMS"):
        if key not in content:
            raise InputError(f"{path}: has no {key}")
    base = os.path.normpath(os.path.join(os.path.dirname(path), str(content["BASE"])))
    if not os.path.isfile(base) and is_named(str(content["BASE"])):
        base = str(content["BASE"])
    seeds = _numbers(path, "SEEDS", content.get("SEEDS", [0]))
    folds = content.get("FOLDS")
    if folds is not None and (type(folds) is not int or folds < 2):
        raise InputError(f"{path}: FOLDS is {shown(folds)}, expected a number from 2 on")
    rows = _rows(path, "ROWS", content.get("ROWS", []))
    arms = content["ARMS"]
    if not isinstance(arms, dict) or not arms:
        raise InputError(f"{path}: ARMS is {shown(arms)}, expected arms by name")
    shared = _keys(path, "KEYS", content.get("KEYS", {}))
    given = dict(zip(overrides[::2], overrides[1::2], strict=False))
    _refuse_own(path, given, "the command line")
    runs, same, gone = [], {}, {}
    for name, arm in arms.items():
        arm = arm or {}
        place = f"ARMS.{name}"
        _check_name(path, name)
        if not isinstance(arm, dict):
            raise InputError(f"{path}: {place} is {shown(arm)}, expected KEYS and others")
        _require_known(path, arm, _ARM_KEYS, f"{place}.")
        own = _keys(path, f"{place}.KEYS", arm.get("KEYS", {}))
        own_seeds = _numbers(path, f"{place}.SEEDS", arm.get("SEEDS", seeds))
        alone = _rows(path, f"{place}.EACH_ROW", arm.get("EACH_ROW", []))
        same[name] = _same(path, name, arm.get("SAME", {}), arms, alone)
        if "GONE" in arm:
            if not isinstance(arm["GONE"], str) or set(arm) != {"GONE"}:
                raise InputError(
                    f"{path}: {place} is {shown(arm)}: expected GONE alone, a text that says what "
                    "the arm was trained with"
                )
            gone[name] = arm["GONE"]
            continue
        keys = {**shared, **own}
        if folds:
            _require_folds(path, place, {**keys, **given})
        for fold in range(folds) if folds else [None]:
            for seed in own_seeds:
                for row in [row for row in alone if row not in same[name]] or [None]:
                    if alone and row is None:
                        continue
                    runs.append(_run(name, seed, fold, row, keys, overrides))
    pairs = content.get("AGAINST", [])
    if not isinstance(pairs, list):
        raise InputError(f"{path}: AGAINST is {shown(pairs)}, expected a list of [ARM, OTHER]")
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(_is_one(o, arms) for o in pair):
            raise InputError(
                f"{path}: AGAINST contains {shown(pair)}, expected [ARM, OTHER] of {list(arms)}"
            )
    patient = set()
    for run in runs:
        # A wrong key is found before the first run.
        cfg = load_cfg(base, run.overrides)
        if cfg.TRAIN.PATIENCE:
            patient.add(run.arm)
        if cfg.DATA.MULTI_LABEL:
            raise InputError(
                f"{path}: arms are compared by which videos are right, and with DATA.MULTI_LABEL "
                "True none is right or wrong as a whole"
            )
    plotted = content.get("PLOT", list(arms))
    if not isinstance(plotted, list) or not plotted or not all(_is_one(o, arms) for o in plotted):
        raise InputError(f"{path}: PLOT is {shown(plotted)}, expected some of {list(arms)}")
    pairs, plotted = tuple(map(tuple, pairs)), tuple(plotted)
    curves = _curves(path, content.get("CURVES", {}), arms)
    parts = rows, tuple(arms), same, gone, pairs, plotted, curves, tuple(runs), frozenset(patient)
    return Plan(str(path), base, *parts)


def _curves(path, values, arms):
    if not isinstance(values, dict):
        raise InputError(f"{path}: CURVES is {shown(values)}, expected NAME: [ARM, ...]")
    for name, some in values.items():
        if not isinstance(some, list) or not some or not all(_is_one(one, arms) for one in some):
            raise InputError(
                f"{path}: CURVES.{name} is {shown(some)}, expected some of {list(arms)}"
            )
    return {str(name): tuple(some) for name, some in values.items()}


def _is_one(name, arms):
    return isinstance(name, str) and name in arms


def _check_name(path, name):
    """Arms give their names to folders."""
    if not isinstance(name, str):
        raise InputError(f"{path}: ARMS has an arm {shown(name)}, which is no text: quote its name")
    if not name.strip() or name.startswith(".") or any(one in name for one in "/\\\0"):
        raise InputError(f"{path}: ARMS has an arm {shown(name)}, which cannot name a folder")


def _require_folds(path, place, keys):
    if not any("{fold}" in text for text in keys.values()):
        raise InputError(
            f"{path}: FOLDS, and no value of a key of {place} has {{fold}}: all folds would be the "
            'same training; write such as DATA.PATH_TO_DATA_DIR: "data/fold{fold}"'
        )


def _refuse_own(path, keys, place):
    for key in keys:
        if key in _OWN:
            raise InputError(f"{path}: {place} sets {key}: a comparison takes it from {_OWN[key]}")


def _same(path, name, values, arms, alone):
    """``{row: other arm}``, rows as their sub-networks are written."""
    place = f"ARMS.{name}.SAME"
    if not isinstance(values, dict):
        raise InputError(f"{path}: {place} is {shown(values)}, expected ROW: ARM")
    found = {_rows(path, place, [row])[0]: other for row, other in values.items()}
    for row, other in found.items():
        if not _is_one(other, arms):
            raise InputError(f"{path}: {place} names {shown(other)}, which is no arm")
        if other == name:
            raise InputError(f"{path}: {place} names the arm itself, which would not train {row}")
        if row not in alone:
            raise InputError(f"{path}: {place} names {row}, which is not in its EACH_ROW")
    return found


def _of_row(row):
    """Overrides for a sub-network that trains alone, and is all that its table has."""
    if row is None:
        return {}
    empty = {f"TABLE.{key}": "[]" for key in ("WIDTHS", "FRAMES", "SIZES", "SUBNETS")}
    return {"MUTUAL.MODE": "single", "MUTUAL.SUBNET": row, **empty}


def _run(arm, seed, fold, row, keys, overrides):
    folder = os.path.join(arm, *([row] if row else []), f"seed{seed}")
    if fold is not None:
        folder += f"-fold{fold}"
        keys = {key: value.replace("{fold}", str(fold)) for key, value in keys.items()}
        overrides = [text.replace("{fold}", str(fold)) for text in overrides]
    last = {"RNG_SEED": str(seed), **_of_row(row)}
    flat, last = ([text for pair in some.items() for text in pair] for some in (keys, last))
    return Run(arm, seed, fold, row, folder, (*flat, *overrides, *last))


def _read(path):
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except FileNotFoundError:
        raise InputError(f"{path}: no such plan, a YAML file (docs/training.md)") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(
            f"{path}: cannot be read as a plan ({' '.join(str(error).split())})"
        ) from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a plan with BASE and ARMS")
    return content


def _require_known(path, values, known, prefix):
    for key in values:
        if key not in known:
            raise InputError(
                f"{path}: {prefix}{key} is unknown; a plan has {', '.join(sorted(known))} there"
            )


def _keys(path, place, values):
    """``{KEY: text}`` of a mapping ``KEY: value``, or of sections with keys in them."""
    if not isinstance(values, dict):
        raise InputError(f"{path}: {place} is {shown(values)}, expected KEY: value")
    found = {}
    for key, value in values.items():
        inner = value.items() if isinstance(value, (dict, CfgNode)) else None
        for name, one in [(key, value)] if inner is None else [(f"{key}.{k}", v) for k, v in inner]:
            found[str(name)] = str(one)
    _refuse_own(path, found, place)
    return found


def _numbers(path, place, values):
    if not isinstance(values, list) or not values or any(type(n) is not int for n in values):
        raise InputError(f"{path}: {place} is {shown(values)}, expected whole numbers")
    if len(set(values)) < len(values):
        raise InputError(f"{path}: {place} is {shown(values)}: a number is in it twice")
    return values


def _rows(path, place, values):
    if not isinstance(values, list):
        raise InputError(f"{path}: {place} is {shown(values)}, expected sub-networks")
    try:
        return tuple(dict.fromkeys(str(Subnet.parse(value)) for value in values))
    except InputError as error:
        raise InputError(f"{path}: {place}: {error}") from None
