"""Makes a network slimmable, and switches it."""

import copy
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from mutualvideo.errors import InputError
from mutualvideo.slim.layers import TWINS, BatchNormTwin, Prepared
from mutualvideo.slim.meta_copy import meta_twin
from mutualvideo.slim.network_protocol import check_subnet, tell_subnet
from mutualvideo.slim.rules import Fixed, Segments
from mutualvideo.slim.selfcheck import check_widths
from mutualvideo.slim.state import SlimState
from mutualvideo.slim.subclass import twin_of
from mutualvideo.slim.tracing.layer_plan import make_plan
from mutualvideo.slim.tracing.trace import trace
from mutualvideo.slim.unsupported import keeps_forward, plain_class, refuse

# Pictures and clips that a network is tried on where the caller gives no example: the usual
# ones first. On the meta device, so large ones cost nothing.
_USUAL = {
    nn.Conv3d: [(16, 224, 224), (32, 256, 256), (16, 112, 112), (64, 224, 224), (8, 64, 64)],
    nn.Conv2d: [(224, 224), (299, 299), (64, 64), (32, 32)],
    nn.Conv1d: [(16000,), (1024,), (128,)],
    nn.Linear: [()],
}


def slimmable(
    model,
    width_range=(0.25, 1.0),
    divisor=8,
    rules=None,
    segments=None,
    exclude=(),
    full=None,
    example=None,
):
    """Makes a convolutional network executable at every width, in place.

    Conv1d/2d/3d (plain, depthwise and grouped), Linear and BatchNorm layers are exchanged
    for slimmable twins that hold the same parameters under the same names: ``state_dict()``
    does not change, and at width 1 neither does any output.

    One forward pass on the meta device shows what has to be known beyond that: where
    channels are concatenated, which layers must agree because their outputs are added, and
    which must keep all their channels because they make the output (the classifier) or feed
    something that is not slimmed. Then the network runs at three widths, as a check. Nothing
    is changed if anything is refused.

    Args:
        model: any ``nn.Module``, 2D or 3D.
        width_range: narrowest and widest width multiplier, within (0, 1].
        divisor: active channels are a multiple of this.
        rules: ``{name pattern: rule}`` for layers whose output does not follow the default
            (:class:`~mutualvideo.slim.Ratio`, :class:`~mutualvideo.slim.Fixed`); patterns
            as in :mod:`fnmatch`, the last one that fits counts. A rule holds for all
            layers whose outputs are added to the named one's; depthwise and grouped
            convolutions and BatchNorm follow what they read and need none.
        segments: ``{name pattern: [Segment, ...]}`` for layers whose input is a channel
            concatenation that tracing cannot follow.
        exclude: name patterns of layers, or of modules with all that is in them, to leave as
            they are.
        full: the :class:`~mutualvideo.Subnet` that is the full network, if there is one.
        example: what the network takes: a tensor, a list of tensors (one argument), or a
            tuple of positional arguments; on the meta device or not, only shapes are used
            where the network runs on the meta device. By default usual shapes are tried.

    Returns:
        The same ``model``.

    Raises:
        InputError: for a layer that cannot be slimmed, naming its path and the reason; for
            the first module whose shapes disagree at another width; for a pattern that
            matches nothing; for a network that is slimmable already, or that none of the
            usual inputs fits.
    """
    if hasattr(model, "slim_state"):
        raise InputError("slimmable(): this network is slimmable already")
    SlimState(width_range, divisor)  # refuses a bad range or divisor
    chosen = {n: m for n, m in model.named_modules() if not _excluded(n, exclude)}
    for name, module in chosen.items():
        refuse(name, module)
    layers = [name for name, module in chosen.items() if plain_class(module) is not None]
    for pattern in (*(rules or {}), *(segments or {})):
        if not any(fnmatchcase(name, pattern) for name in chosen):
            raise InputError(f"slimmable(): no layer is called {pattern!r}")
    rules = _by_layer(rules, layers)
    told = {name: Segments(parts) for name, parts in _by_layer(segments, layers).items()}

    def convert(network):
        state = SlimState(width_range, divisor)
        state.full = full
        for name in layers:
            layer = network.get_submodule(name)
            plain = plain_class(layer)
            same = keeps_forward(layer, plain)
            layer.__class__ = TWINS[plain] if same else twin_of(type(layer), plain)
            layer.slim, layer.prepared = state, Prepared()
            if isinstance(layer, BatchNormTwin):
                layer.statistics = {}
        network.slim_state = state

    def tell(network, plan, inputs):
        network.slim_state.plan = plan
        for name in layers:
            layer = network.get_submodule(name)
            if name in plan.rules:
                layer.out_rule = plan.rules[name]
            parts = inputs[name].parts if name in inputs else ()
            if len(parts) > 1 and not all(part.rule == Fixed() for part in parts):
                layer.in_segments = inputs[name]

    twin, args, found = _trace(model, convert, rules, told, example)
    plan = make_plan(found, rules)
    inputs = plan.inputs | told
    tell(twin, plan, inputs)
    check_widths(twin, args, inputs)
    convert(model)
    tell(model, plan, inputs)
    return model


def _excluded(name, patterns):
    """Whether ``name`` or a module that it is in fits one of the patterns."""
    parts = name.split(".")
    paths = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return any(fnmatchcase(path, pattern) for path in paths for pattern in patterns)


def _by_layer(by_pattern, layers):
    return {
        name: value
        for pattern, value in (by_pattern or {}).items()
        for name in layers
        if fnmatchcase(name, pattern)
    }


def _trace(model, convert, rules, told, example):
    """A slimmable copy of ``model``, the arguments that it ran on, and what that showed."""
    fixed = {name for name, rule in rules.items() if rule == Fixed()}
    first_error = None
    for make_twin, args in _trials(model, example):
        twin = make_twin(model).eval()
        convert(twin)
        twin.slim_state.width = 1.0  # whole, even where the widest width allowed is less
        try:
            return twin, args, trace(twin, args, fixed, told)
        except InputError:
            raise
        except Exception as error:
            first_error = first_error or (args, error)
    args, error = first_error
    shapes = [tuple(t.shape) for t in tree_leaves(args) if isinstance(t, torch.Tensor)]
    reason = str(error).strip().split("\n")[0]
    raise InputError(
        f"slimmable(): {type(model).__name__} does not run on input of shape "
        f"{', '.join(map(str, shapes))} ({reason}): give example=, a tensor or a tuple of what its "
        "forward takes"
    ) from error


def _trials(model, example):
    """(function that copies the model, arguments to run the copy on), best first."""
    if example is None:
        layer, sizes = next(
            (
                (m, sizes)
                for m in model.modules()
                for kind, sizes in _USUAL.items()
                if isinstance(m, kind)
            ),
            (None, None),
        )
        if layer is None:
            raise InputError(
                f"slimmable(): {type(model).__name__} has no convolution and no linear layer"
            )
        channels = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
        for size in sizes:
            # Two of them, so that a reshape that mixes the batch in is seen as one.
            shape = (2, channels, *size)
            yield meta_twin, (torch.empty(shape, dtype=layer.weight.dtype, device="meta"),)
        return
    args = example if isinstance(example, tuple) else (example,)

    def to_meta(value):
        return value.to("meta") if isinstance(value, torch.Tensor) else value

    yield meta_twin, tree_map(to_meta, args)
    if any(isinstance(t, torch.Tensor) and t.device.type != "meta" for t in tree_leaves(args)):
        # A forward that looks at values does not run without them.
        yield copy.deepcopy, args


def slim_state(model):
    """The shared state of a slimmable ``model``.

    Raises:
        InputError: if the model was never made slimmable.
    """
    try:
        return model.slim_state
    except AttributeError:
        raise InputError(
            f"{type(model).__name__} is not slimmable: call mutualvideo.slimmable(model) first"
        ) from None


def set_width(model, width):
    """Switches ``model`` to ``width`` for whatever input arrives; O(1).

    At the widest width this is the full network.

    Raises:
        InputError: if the width is outside the range the network was made slimmable for.
    """
    slim_state(model).select(width)
    tell_subnet(model, None)


def set_subnet(model, subnet):
    """Switches ``model`` to ``subnet``; O(1).

    The caller feeds it clips of that shape: :func:`~mutualvideo.slim.subnet_input` makes
    them from the full clip. Networks with pathways (SlowFast) make them inside.

    Raises:
        InputError: if the width is outside the range, or the network cannot take the
            frames or the size.
    """
    check_subnet(model, subnet)
    slim_state(model).select(subnet.width, subnet)
    tell_subnet(model, subnet)
