"""BatchNorm statistics of each sub-network."""

import os
from contextlib import contextmanager

import torch
from torch.utils._pytree import tree_leaves

from mutualvideo.errors import InputError, shown
from mutualvideo.slim.batch_norm_layers import batch_norms
from mutualvideo.slim.convert import slim_state
from mutualvideo.slim.every_subnet import each_subnet
from mutualvideo.slim.network_protocol import tell_subnet
from mutualvideo.slim.resampling import batch_length, run_on
from mutualvideo.slim.state import Calibration
from mutualvideo.slim.statistics.sync_norm import count_over_processes
from mutualvideo.subnet import Subnet

_FORMAT = "mutualvideo-statistics"


@contextmanager
def as_before(model):
    """Restores modes and the current sub-network on leaving."""
    state = slim_state(model)
    width, subnet, over_processes = state.width, state.subnet, state.over_processes
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield state
    finally:
        state.calibration, state.over_processes = None, over_processes
        for module, mode in modes:
            module.training = mode
        state.select(width, subnet)
        tell_subnet(model, subnet)


@torch.no_grad()
def calibrate(model, subnets, clips, over_processes=False):
    """Recomputes the BatchNorm statistics of every sub-network of ``subnets``.

    The statistics of each are reset, then are the mean over the batches of the batch mean
    and of the unbiased batch variance, each batch weighted by its number of clips: what a
    BatchNorm with ``momentum=None`` collects, also one that a pass uses several times. Dropout is
    off, there are no gradients, no weight changes, and the full network's running statistics are
    not touched. Called twice with the same clips it gives the same statistics.

    Reference: US-Net (arXiv 1903.05134) section 3.3; MutualNet (arXiv 2105.07085) section 3.3.

    Args:
        model: a slimmable network.
        subnets: the sub-networks to calibrate, or one.
        clips: iterable of full-size batches, without labels, float32 (B, C, T, H, W) or
            (B, C, H, W), on the model's device, or nests of tensors as
            :func:`~mutualvideo.slim.subnet_input` takes them; each is read once and derived for
            every sub-network.
        over_processes: the processes of ``torch.distributed`` calibrate together: what each of
            them gives is a part of the batch, whose statistics are those of all parts, so that
            every process gets what one alone gets for the whole batches. All must give as many
            parts; these may differ in size.

    Raises:
        InputError: if ``clips`` is empty, or a sub-network cannot be run.
    """
    collect(model, subnets, clips, each_subnet, over_processes=over_processes)


@torch.no_grad()
def collect(model, subnets, batches, each, count_of=batch_length, over_processes=False):
    """What :func:`calibrate` does, for inputs of any kind.

    Args:
        model, subnets, over_processes: as :func:`calibrate` takes them.
        batches: iterable of batches, on the model's device.
        each: function of (model, batch, subnets) that switches to each sub-network in turn and
            yields (sub-network, its input).
        count_of: function of a batch: its weight.

    Raises:
        InputError: as :func:`calibrate` does.
    """
    slim_state(model)  # of what is no slimmable network: an error in words
    subnets = [subnets] if isinstance(subnets, (Subnet, str)) else subnets
    subnets = list(dict.fromkeys(map(Subnet.of, subnets)))
    norms = [norm for _, norm in batch_norms(model)]
    with as_before(model) as state:
        model.eval()
        state.over_processes = over_processes
        for norm in norms:
            for subnet in subnets:
                norm.statistics.pop(subnet, None)
        state.calibration = Calibration()
        for batch in batches:
            count = count_of(batch)
            if over_processes:
                first = next(t for t in tree_leaves(batch) if torch.is_tensor(t))
                count = count_over_processes(count, first.device)
            state.calibration.weight = count
            for _, x in each(model, batch, subnets):
                run_on(model, x)
        given = state.calibration.weight > 0
    if not given:
        raise InputError("calibrate(): no clips were given, so there is nothing to average")


def is_calibrated(model, subnet):
    """Whether ``subnet`` has statistics to be judged by: its own, or it is the full network."""
    if slim_state(model).full == subnet:
        return True
    return all(subnet in norm.statistics for _, norm in batch_norms(model))


def require_calibrated(model, subnet, purpose, remedy="calibrate() it first"):
    """Raises InputError, naming ``subnet`` and ``purpose``, if it was never calibrated."""
    if not is_calibrated(model, subnet):
        raise InputError(
            f"{purpose}: sub-network {subnet} was never calibrated, its BatchNorm statistics are "
            f"the full network's and its answers meaningless; {remedy}"
        )


def get_statistics(model):
    """All calibrated statistics as one dict of plain values and CPU tensors.

    ``{"format": ..., "subnets": {"0.5x8x112": {layer name: (mean, var)}}}``, float32.
    """
    subnets = {}
    for name, norm in batch_norms(model):
        for subnet, pair in norm.statistics.items():
            subnets.setdefault(str(subnet), {})[name] = tuple(t.float().cpu() for t in pair)
    return {"format": _FORMAT, "subnets": subnets}


def _fits(pair, channels):
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        return False
    return all(
        isinstance(t, torch.Tensor)
        and t.dtype == torch.float32
        and t.dim() == 1
        and t.layout == torch.strided
        and not t.is_meta
        and len(t) <= channels
        for t in pair
    ) and len(pair[0]) == len(pair[1])


def load_statistics(model, source):
    """Gives ``model`` the statistics of :func:`get_statistics`; replaces what it had.

    Args:
        model: a slimmable network.
        source: the dict, or the path of a file it was saved to with ``torch.save``.

    Raises:
        InputError: if the file cannot be read, or belongs to another network.
    """
    origin = "statistics"
    if isinstance(source, (str, os.PathLike)):
        origin = str(source)
        try:
            source = torch.load(source, map_location="cpu", weights_only=True)
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            raise InputError(
                f"{origin}: cannot be read as BatchNorm statistics ({reason})"
            ) from error
    if not isinstance(source, dict) or source.get("format") != _FORMAT:
        raise InputError(f"{origin}: not a file of BatchNorm statistics of mutualvideo")
    norms = dict(batch_norms(model))
    loaded = {name: {} for name in norms}
    subnets = source.get("subnets")
    if not isinstance(subnets, dict) or not all(isinstance(v, dict) for v in subnets.values()):
        raise InputError(f"{origin}: holds no statistics by sub-network and layer; make it anew")
    for key, by_layer in subnets.items():
        subnet = Subnet.parse(key)
        if by_layer.keys() != norms.keys():
            odd = min(by_layer.keys() ^ norms.keys(), key=str)
            raise InputError(f"{origin}: {subnet} belongs to another network (layer {shown(odd)})")
        for name, pair in by_layer.items():
            if not _fits(pair, norms[name].num_features):
                raise InputError(
                    f"{origin}: {subnet} belongs to another network: the mean and variance of "
                    f"{name} are not two float32 tensors of at most {norms[name].num_features}"
                )
            # On its device, in the precision of its own: a network may be .half().
            like = next((t for t in norms[name].buffers() if t.is_floating_point()), None)
            like = next(norms[name].parameters(), pair[0]) if like is None else like
            loaded[name][subnet] = tuple(t.to(like.device, like.dtype) for t in pair)
    for name, norm in norms.items():
        norm.statistics = loaded[name]
    state = slim_state(model)
    state.select(state.width, state.subnet)  # what layers prepared is out of date
