"""What a sub-network costs."""

from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import FlopCounterMode

from mutualvideo.errors import InputError
from mutualvideo.slim.channel_parameters import lenders
from mutualvideo.slim.convert import set_subnet, slim_state
from mutualvideo.slim.counting.operation_costs import MetaFlops
from mutualvideo.slim.meta_copy import copy_network, meta_twin
from mutualvideo.slim.resampling import input_shape
from mutualvideo.slim.twin_base import arriving_channels, slim_layers
from mutualvideo.subnet import Subnet


def example_input(model, subnet, in_channels=3, device="meta"):
    """An empty clip (1, C, T, S, S), or image (1, C, S, S), for ``model`` as ``subnet``.

    Its precision is that of the network's parameters.
    """
    frames, size = input_shape(model, subnet)
    shape = (1, in_channels, size, size) if frames is None else (1, in_channels, frames, size, size)
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
    return torch.empty(shape, dtype=dtype, device=device)


def meta_arguments(model, subnet, in_channels=3, example=None):
    """Positional arguments that ``model`` runs on as ``subnet``, on the meta device.

    Args:
        model: a slimmable network.
        subnet: which sub-network it runs as.
        in_channels: channels of the input, where there is no example.
        example: a tensor, a list of tensors (one argument) or a tuple of positional
            arguments, of which only the shapes and dtypes are used; by default
            :func:`example_input`.

    Returns:
        tuple.
    """
    if example is None:
        return (example_input(model, subnet, in_channels),)
    return tree_map(
        lambda value: value.to("meta") if torch.is_tensor(value) else value, arguments(example)
    )


def arguments(example):
    """The positional arguments that ``example`` stands for."""
    return example if isinstance(example, tuple) else (example,)


def require_example(subnet, args, example, error):
    """Raises ``InputError`` if ``error`` came of the input that was made up, for want of one."""
    if example is None:
        shape = tuple(args[0].shape)
        kind = "clip" if len(shape) == 5 else "picture"
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(
            f"sub-network {subnet}: the network does not run on a {kind} of {shape} ({reason}): "
            "name a sub-network of what it takes, or give example=..., its own input"
        ) from error


def has_values(example):
    """Whether ``example`` has tensors, and all of them have values."""
    tensors = [t for t in tree_leaves(example) if torch.is_tensor(t)]
    return bool(tensors) and not any(t.is_meta for t in tensors)


def _first_of_batch(args):
    """``args`` of one clip: the first of every tensor that is as long as the first batch."""
    lengths = [t.shape[0] for t in tree_leaves(args) if torch.is_tensor(t) and t.dim() > 1]
    if not lengths:
        return args

    def first(value):
        batched = torch.is_tensor(value) and value.dim() and value.shape[0] == lengths[0]
        return value[:1] if batched else value

    return tree_map(first, args)


@contextmanager
def record_arriving(model):
    """Yields ``{layer name: input channels}``, filled while ``model`` runs."""
    seen, handles = {}, []

    def watch(name, layer):
        def hook(_, inputs, kwargs):
            count = arriving_channels(layer, inputs[0] if inputs else kwargs["input"])
            if seen.setdefault(name, count) != count:
                raise RuntimeError(f"{name} is used with {seen[name]} and with {count} channels")

        handles.append(layer.register_forward_pre_hook(hook, with_kwargs=True))

    for name, layer in slim_layers(model):
        watch(name, layer)
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class Costs:
    """What one clip (or image) through a sub-network costs.

    Attributes:
        macs: multiply-adds of convolutions and linear layers.
        params: parameters in use.
    """

    macs: int
    params: int


def count_macs(model, subnet, in_channels=3, example=None):
    """Multiply-adds of one clip (or image) through ``model`` as ``subnet``.

    Of convolutions and linear layers, the papers' convention: half of what
    ``torch.utils.flop_counter`` counts. Runs on the meta device, touches no data and leaves
    the model as it was.

    Args:
        model: a slimmable network.
        subnet: the sub-network to count.
        in_channels: channels of the input.
        example: what the network takes, where that is not one clip of the sub-network's shape: a
            tensor, a list of tensors (one argument) or a tuple of positional arguments. Only
            shapes are used, whatever the sub-network's are, and of a batch the first alone.

    Returns:
        int: multiply-adds.

    Raises:
        InputError: if the network cannot be switched to ``subnet``.
    """
    return count_costs(model, [subnet], in_channels, example)[Subnet.of(subnet)].macs


@torch.no_grad()
def count_costs(model, subnets, in_channels=3, example=None):
    """``{subnet: Costs}`` for many sub-networks; see :func:`count_macs`.

    An ``example`` is that of all of them.
    """
    slim_state(model)  # of what is no slimmable network: an error in words
    subnets = [Subnet.of(subnet) for subnet in subnets]
    try:
        return _count(meta_twin(model), subnets, in_channels, example, MetaFlops())
    except InputError:
        raise
    except Exception:
        if not has_values(example):
            raise
    # A forward that looks at values does not run without them.
    return _count(copy_network(model).eval(), subnets, in_channels, example, _Flops())


class _Flops:
    """As :class:`MetaFlops`, of a pass with values."""

    def __init__(self):
        self.total = 0

    def __enter__(self):
        self._counter = FlopCounterMode(display=False)
        self._counter.__enter__()

    def __exit__(self, *error):
        self._counter.__exit__(*error)
        self.total += self._counter.get_total_flops()


def _count(twin, subnets, in_channels, example, counter):
    layers = slim_layers(twin)
    cut = {id(p) for _, layer in layers for p in layer.parameters(recurse=False)}
    cut |= {id(p) for module in lenders(twin) for p in module.parameters(recurse=False)}
    rest = sum(p.numel() for p in twin.parameters() if id(p) not in cut)
    costs, in_use = {}, {}
    with record_arriving(twin) as arriving:
        for subnet in subnets:
            set_subnet(twin, subnet)
            flops = _flops_of_one(twin, subnet, in_channels, example, counter, arriving)
            # Neither frames nor size show in a layer's parameters: they are counted once a width.
            key = subnet.width, tuple(arriving.items())
            if key not in in_use:
                in_use[key] = rest + sum(module.active_parameters() for module in lenders(twin))
                in_use[key] += sum(
                    layer.active_parameters(arriving[name])
                    for name, layer in layers
                    if name in arriving
                )
            costs[subnet] = Costs(flops // 2, in_use[key])
    return costs


def _flops_of_one(twin, subnet, in_channels, example, counter, arriving):
    """Operations of one of the batch; where one alone does not run, its share of the batch's."""
    if isinstance(counter, MetaFlops):
        args = meta_arguments(twin, subnet, in_channels, example)
    else:
        args = arguments(example)
    length = next((t.shape[0] for t in tree_leaves(args) if torch.is_tensor(t) and t.dim() > 1), 1)
    for some, count in ((_first_of_batch(args), 1), (args, length)):
        before = counter.total
        arriving.clear()
        try:
            with counter:
                twin(*some)
            return (counter.total - before) // count
        except InputError:
            raise
        except Exception as error:
            if count == length:
                require_example(subnet, some, example, error)
                raise
    raise AssertionError("one of the two runs, or raises")
