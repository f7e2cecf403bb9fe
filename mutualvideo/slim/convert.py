"""Makes a network slimmable, and switches it."""

from fnmatch import fnmatchcase

from torch import nn

from mutualvideo.errors import InputError
from mutualvideo.slim.layers import TWINS, batch_norms
from mutualvideo.slim.rules import Fixed
from mutualvideo.slim.state import SlimState

# Layers whose width cannot follow the tensor that arrives. Anything without parameters
# (pooling, activations, dropout) is width-agnostic and is not looked at.
_REFUSED = {
    nn.ConvTranspose1d: "transposed convolutions are not supported",
    nn.ConvTranspose2d: "transposed convolutions are not supported",
    nn.ConvTranspose3d: "transposed convolutions are not supported",
    nn.LayerNorm: "LayerNorm mixes all channels, so a narrower one is another function",
    nn.GroupNorm: "GroupNorm ties its groups to the full channel count",
    nn.MultiheadAttention: "attention heads are not slimmable",
    nn.LSTM: "recurrent layers are not slimmable",
    nn.GRU: "recurrent layers are not slimmable",
}


def slimmable(
    model, width_range=(0.25, 1.0), divisor=8, rules=None, segments=None, exclude=(), full=None
):
    """Makes a convolutional network executable at every width, in place.

    Conv1d/2d/3d (plain and depthwise), Linear and BatchNorm layers are exchanged for
    slimmable twins that hold the same parameters under the same names: ``state_dict()``
    does not change, and at width 1 neither does any output. The first convolution's input
    and the classifier's output are never slimmed.

    Args:
        model: any ``nn.Module``, 2D or 3D.
        width_range: narrowest and widest width multiplier, within (0, 1].
        divisor: active channels are a multiple of this.
        rules: ``{name pattern: rule}`` for layers whose output does not follow the default
            (:class:`~mutualvideo.slim.Ratio`, :class:`~mutualvideo.slim.Fixed`); patterns
            as in :mod:`fnmatch`. The last ``nn.Linear`` is the classifier and gets
            ``Fixed()``, unless a rule names it.
        segments: ``{name pattern: [Segment, ...]}`` for layers whose input is a channel
            concatenation.
        exclude: name patterns of layers to leave as they are.
        full: the :class:`~mutualvideo.Subnet` that is the full network, if there is one.

    Returns:
        The same ``model``.

    Raises:
        InputError: for a layer that cannot be slimmed, naming its path and the reason; for
            a pattern that matches nothing; for a model that is slimmable already.
    """
    if hasattr(model, "slim_state"):
        raise InputError("slimmable(): this network is slimmable already")
    state = SlimState(width_range, divisor)
    state.full = full
    rules, segments = dict(rules or {}), dict(segments or {})
    chosen = {
        name: module
        for name, module in model.named_modules()
        if not any(fnmatchcase(name, pattern) for pattern in exclude)
    }
    for name, module in chosen.items():
        _refuse(name, module)
    linears = [name for name, module in chosen.items() if _plain_class(module) is nn.Linear]
    if linears and not any(fnmatchcase(linears[-1], pattern) for pattern in rules):
        rules[linears[-1]] = Fixed()
    for pattern in (*rules, *segments):
        if not any(fnmatchcase(name, pattern) for name in chosen):
            raise InputError(f"slimmable(): no layer is called {pattern!r}")
    for name, module in chosen.items():
        plain = _plain_class(module)
        if plain is None:
            continue
        module.__class__ = TWINS[plain]
        module.slim = state
        for pattern, rule in rules.items():
            if fnmatchcase(name, pattern):
                module.out_rule = rule
        for pattern, parts in segments.items():
            if fnmatchcase(name, pattern):
                module.in_segments = tuple(parts)
    for _, norm in batch_norms(model):
        norm.statistics = {}
    model.slim_state = state
    return model


def _refuse(name, module):
    for refused, reason in _REFUSED.items():
        if isinstance(module, refused):
            raise InputError(f"slimmable(): {name} ({type(module).__name__}): {reason}")
    groups = getattr(module, "groups", 1)
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and 1 < groups < module.in_channels:
        raise InputError(
            f"slimmable(): {name} ({type(module).__name__}): {groups} groups over "
            f"{module.in_channels} channels; only plain and depthwise convolutions can be slimmed"
        )
    if isinstance(module, tuple(TWINS)) and _plain_class(module) is None:
        raise InputError(
            f"slimmable(): {name} is a {type(module).__name__}, a subclass of a plain layer with a "
            "forward of its own; exclude it by name or use the plain layer"
        )


def _plain_class(module):
    """The torch layer that ``module`` is: itself, or a subclass that computes the same."""
    for plain in TWINS:
        if isinstance(module, plain) and all(
            getattr(type(module), name, None) is getattr(plain, name, None)
            for name in ("forward", "_conv_forward", "_check_input_dim")
        ):
            return plain
    return None


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
    if hasattr(model, "on_subnet"):
        model.on_subnet(None)


def set_subnet(model, subnet):
    """Switches ``model`` to ``subnet``; O(1).

    The caller feeds it clips of that shape: :func:`~mutualvideo.slim.subnet_input` makes
    them from the full clip. Networks with pathways (SlowFast) make them inside.

    Raises:
        InputError: if the width is outside the range, or the network cannot take the
            frames or the size.
    """
    if hasattr(model, "check_subnet"):
        model.check_subnet(subnet)
    slim_state(model).select(subnet.width, subnet)
    if hasattr(model, "on_subnet"):
        model.on_subnet(subnet)
