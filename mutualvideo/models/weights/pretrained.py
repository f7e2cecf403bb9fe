"""Weights of other libraries' files in a network, by name, and an account of what was done."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from mutualvideo.errors import InputError
from mutualvideo.models.model_registry import all_networks
from mutualvideo.models.weights.inflate import can_inflate, inflate
from mutualvideo.models.weights.weights_file import read_checkpoint
from mutualvideo.slim import batch_norms

logger = logging.getLogger(__name__)

_State = Mapping[str, torch.Tensor]
_AS_IS = "as is"
_PREFIX = "module."  # of networks saved from inside DataParallel
# What statistics are before the first batch.
_INITIAL = {"running_mean": 0, "running_var": 1, "num_batches_tracked": 0}


@dataclass(frozen=True)
class Loaded:
    """What :func:`load_pretrained` did.

    Attributes:
        format: whose names were translated, by the formats of the registered networks:
            ``"PySlowFast"``, ``"MutualNet"`` or ``"torchvision ResNet"`` (in a video network);
            ``"as is"`` where none had to be.
        skipped: names in the file that were not used.
        reset: names in the network, of BatchNorm statistics that the file does not have,
            which are at their initial values now.
        inflated: names in the network of 3D weights that were made from 2D ones.
        replaced: names in the network of the classifier that kept its own weights.
    """

    format: str
    skipped: tuple[str, ...] = ()
    reset: tuple[str, ...] = ()
    inflated: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()

    @property
    def needs_calibration(self) -> bool:
        """Whether the running statistics are not those of the weights."""
        return any(name.endswith(".running_mean") for name in self.reset)


def load_pretrained(
    model: nn.Module, path: str | os.PathLike[str], replace_classifier: bool = False
) -> Loaded:
    """Loads the weights in the file ``path`` into ``model``, by name, all or nothing.

    Reads what training here writes, PyTorchVideo's and PySlowFast's model zoos, torchvision's
    weights (``state_dict()``s, also under ``"state_dict"`` or ``"model"``, with or without the
    prefix ``module.``), and MutualNet's MobileNet v1
    (:class:`~mutualvideo.models.mobilenet.MobileNetV1`), v2 and ResNet-50 (torchvision's).
    MutualNet's files hold no statistics of the full network: after one of them, calibrate
    before evaluation (``needs_calibration``).

    Everything has to be there, in its shape, but counters of batches, which old files do not
    have. Statistics that sub-networks were calibrated to belong to other weights: they are
    dropped.

    Args:
        model: any ``nn.Module``, slimmable or not.
        path: file of ``torch.save``; nothing in it is executed.
        replace_classifier: for training alone: a classifier for another number of classes
            keeps its weights, and 2D weights become 3D ones (I3D, arXiv 1705.07750), also
            those of torchvision's ResNets in PyTorchVideo's Slow. Both are logged by name.

    Returns:
        :class:`Loaded`.

    Raises:
        InputError: if the file cannot be read, or a name or a shape does not fit; nothing is
            loaded then.
    """
    state = read_checkpoint(path)["model_state"]
    return load_weights(model, state, str(path), replace_classifier)


def load_weights(
    model: nn.Module,
    state: _State,
    origin: str,
    replace_classifier: bool = False,
) -> Loaded:
    """:func:`load_pretrained` of ``state``, ``{name in the file: tensor}``, from ``origin``."""
    own = model.state_dict()
    kind, names, skipped, has_statistics = _translate(state, own)
    found = _renamed(state, names, skipped, origin)
    # Counters are younger than many files, and torch too reads these without.
    absent = {"num_batches_tracked"} if has_statistics else _INITIAL
    reset = [n for n in own if n not in found and n.rpartition(".")[2] in absent]
    for name in reset:
        found[name] = torch.full_like(own[name], _INITIAL[name.rpartition(".")[2]])
    missing, odd = sorted(own.keys() - found.keys()), sorted(found.keys() - own.keys())
    if missing or odd:
        what = (
            f"has no {missing[0]}" if missing else f"has {odd[0]}, which this network does not have"
        )
        raise InputError(f"{origin}: belongs to another architecture: it {what}")
    inflated, replaced = _adapt(model, own, found, origin, replace_classifier)
    for name in inflated:
        found[name] = inflate(found[name].to(own[name].dtype), own[name].shape[2])
    for name in replaced:
        logger.warning(
            "%s: %s not loaded, it is for other classes: %d there, %d here",
            origin,
            name,
            len(found[name]),
            len(own[name]),
        )
        found[name] = own[name]
    model.load_state_dict(found)
    loaded = Loaded(kind, *map(tuple, (skipped, reset, inflated, replaced)))
    _log(loaded, origin)
    _drop_statistics(model, origin)
    return loaded


def _translate(state: _State, own: _State) -> tuple[str, dict[str, str], list[str], bool]:
    """How the file's names become the network's.

    Returns:
        (format, {name in the file: name in the network}, [names in the file not to use], whether
        the file's BatchNorm statistics are those of its weights).
    """
    names = {name: name for name in state}
    if _without_counters(names) == _without_counters(own):
        return _AS_IS, names, [], True

    def rename(translate: Callable[[list[str]], dict[str, str]]) -> None:
        new = translate(list(names.values()))
        names.update({name: new[old] for name, old in names.items()})

    if state and all(name.startswith(_PREFIX) for name in state):
        rename(lambda old: {name: name.removeprefix(_PREFIX) for name in old})
    kind, has_statistics = _AS_IS, True
    skipped: list[str] = []
    formats = list(dict.fromkeys(one for network in all_networks() for one in network.formats))
    # What one makes of the names may be what another adapts to this network.
    while found := next((one for one in formats if one.fits(names.values(), own)), None):
        formats.remove(found)
        rename(found.rename)
        skipped += [name for name in state if found.skip(name)]
        has_statistics = has_statistics and found.has_statistics
        kind = kind if found.adapts and kind != _AS_IS else found.name
    return kind, names, skipped, has_statistics


def _without_counters(names: Iterable[str]) -> set[str]:
    return {name for name in names if not name.endswith(".num_batches_tracked")}


def _renamed(
    state: _State, names: Mapping[str, str], unused: Iterable[str], origin: str
) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    skipped = set(unused)
    for name, tensor in state.items():
        if name in skipped:
            continue
        if names[name] in found:
            raise InputError(f"{origin}: holds {names[name]} twice, once under the name {name}")
        found[names[name]] = tensor
    return found


def _adapt(
    model: nn.Module,
    own: _State,
    found: _State,
    origin: str,
    allowed: bool,
) -> tuple[list[str], list[str]]:
    """([names to inflate], [names to keep]); InputError if anything else, or this, does not fit."""
    differ = [name for name in own if found[name].shape != own[name].shape]
    inflated = [name for name in differ if can_inflate(found[name], own[name].shape)]
    rest = [name for name in differ if name not in inflated]
    replaced = rest if _is_classifier(model, rest, own, found) else []
    wrong = [name for name in rest if name not in replaced]
    if not wrong and not allowed:
        wrong = differ
    if wrong:
        there, here = tuple(found[wrong[0]].shape), tuple(own[wrong[0]].shape)
        only = "; only training can start from it" if rest == replaced else ""
        raise InputError(
            f"{origin}: belongs to another architecture: {wrong[0]} is {there} there and {here} "
            f"here{only}"
        )
    return inflated, replaced


def _is_classifier(
    model: nn.Module,
    names: list[str],
    own: _State,
    found: _State,
) -> bool:
    """Whether ``names``, all that does not fit, is one layer with another number of outputs.

    Nothing reads the outputs of such a layer, or its reader would not fit either: whatever it
    is called and wherever it stands, it is the last one.
    """
    layers = {name.rpartition(".")[0] for name in names}
    if len(layers) != 1:
        return False
    layer = model.get_submodule(layers.pop())
    same_inputs = all(own[name].shape[1:] == found[name].shape[1:] for name in names)
    return same_inputs and isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))


def _log(loaded: Loaded, origin: str) -> None:
    logger.info("%s: loaded; how its weights are named: %s", origin, loaded.format)
    if loaded.skipped:
        logger.warning("%s: not used: %s", origin, ", ".join(loaded.skipped))
    if loaded.inflated:
        logger.warning("%s: inflated from 2D: %s", origin, ", ".join(loaded.inflated))
    if loaded.needs_calibration:
        logger.warning(
            "%s: has no BatchNorm statistics of the full network, these are at their initial "
            "values: calibrate before evaluation",
            origin,
        )
    if loaded.reset:
        logger.info("%s: at initial values: %s", origin, ", ".join(loaded.reset))


def _drop_statistics(model: nn.Module, origin: str) -> None:
    """Forgets what sub-networks were calibrated to: it belongs to the weights before."""
    calibrated = [norm.statistics for _, norm in batch_norms(model) if norm.statistics]
    for statistics in calibrated:
        statistics.clear()
    if calibrated:
        logger.warning(
            "%s: calibrated statistics of the weights before are dropped; calibrate again", origin
        )
