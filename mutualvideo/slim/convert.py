"""Makes a network slimmable, and switches it."""

import warnings
from fnmatch import fnmatchcase

import torch
from torch import nn

from mutualvideo.errors import InputError, shown
from mutualvideo.slim.batch_norm_layers import BatchNormTwin
from mutualvideo.slim.channel_parameters import Lender, Loan, channel_parameters, lend, may_lend
from mutualvideo.slim.layers import TWINS
from mutualvideo.slim.network_protocol import check_subnet, tell_subnet
from mutualvideo.slim.rules import Fixed, Segment, Segments
from mutualvideo.slim.state import SlimState, begin_forward, end_forward
from mutualvideo.slim.subclass import LENT, plain_class, twin_of
from mutualvideo.slim.tracing.settle import settle
from mutualvideo.slim.tracing.trials import trials
from mutualvideo.slim.twin_base import Prepared, Twin
from mutualvideo.slim.unsupported import is_within, keeps_forward, refuse, whole_because
from mutualvideo.subnet import Subnet

# Below this share of multiply-adds that follow the width, slimmable() warns.
_LITTLE = 0.5


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

    Convolutions (plain, depthwise, grouped, transposed), linear layers, BatchNorm, GroupNorm,
    InstanceNorm, LayerNorm and RMSNorm over channels are exchanged for slimmable twins that hold
    the same parameters under the same names, and so are modules with parameters of one number a
    channel (FrozenBatchNorm, PReLU, LayerScale, ...): ``state_dict()`` does not change, and at
    width 1 neither does any output.

    Forward passes on the meta device, in evaluation and in training mode, show what has to be
    known beyond that: where channels are concatenated, split or shuffled, and which layers must
    agree because their outputs are added. Channels that must stay whole (they make the output, or
    meet something that is not cut) are pinned: :func:`slimmable_report` says which, and why. Then
    passes at narrower widths prove that every operation does to the active channels what the full
    network does; where one does not, the channels that it reads are pinned, too. So every width
    answers what a network that was cut out by hand answers. Nothing is changed if anything is
    refused.

    Args:
        model: any ``nn.Module``, 2D or 3D.
        width_range: narrowest and widest width multiplier, within (0, 1].
        divisor: active channels are a multiple of this.
        rules: ``{name pattern: rule}`` for layers whose output does not follow the default
            (:class:`~mutualvideo.slim.Ratio`, :class:`~mutualvideo.slim.Fixed`); patterns
            as in :mod:`fnmatch`, the last one that fits counts. A rule holds for all
            layers whose outputs are added to the named one's; depthwise and grouped
            convolutions and norms follow what they read and need none. ``Fixed()`` for a module
            holds for all that is in it, and what has no twin is left as it is.
        segments: ``{name pattern: [Segment, ...]}`` for layers whose input is a channel
            concatenation, to have it checked.
        exclude: name patterns of layers, or of modules with all that is in them, to leave as
            they are. Norms among them have the full network's statistics at every width, which it
            alone moves; of ``Fixed()`` ones each sub-network has its own.
        full: the :class:`~mutualvideo.Subnet` that is the full network, if there is one.
        example: what the network takes: a tensor, a list of tensors (one argument), or a
            tuple of positional arguments; on the meta device or not, only shapes are used
            where the network runs on the meta device. By default usual shapes are tried.

    Returns:
        The same ``model``.

    Raises:
        InputError: for a module that cannot be part of a slimmable network, naming its path, the
            reason and the rule that leaves it whole; for rules that contradict each other, or
            what was found; for a pattern that matches nothing; for a network that is slimmable
            already, or that none of the usual inputs fits.

    Warns:
        UserWarning: if less than half of the multiply-adds follow the width, or the network does
            not run on the example in training mode.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"slimmable(): expected a network (torch.nn.Module), got {shown(model)}")
    if any(isinstance(module, Twin) for module in model.modules()):
        raise InputError("slimmable(): this network is slimmable already")
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(
            f"slimmable(): {type(model).__name__} is a TorchScript program, with fixed layers; "
            "make the network slimmable before torch.jit takes it"
        )
    SlimState(width_range, divisor)  # refuses a bad range or divisor
    rules, segments = rules or {}, segments or {}
    left = [pattern for pattern, rule in rules.items() if rule == Fixed()]
    every = dict(model.named_modules())
    chosen = {n: m for n, m in every.items() if not is_within(n, exclude)}
    for names, patterns in ((every, exclude), (chosen, rules), (chosen, segments)):
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise InputError(f"slimmable(): no layer is called {pattern!r}")
    whole = {}
    for name, module in chosen.items():
        fixed = is_within(name, left)
        if not fixed:
            refuse(name, module)
        reason = (plain := plain_class(module)) and whole_because(module, plain)
        if reason:
            whole[name] = reason
    layers = [n for n, m in chosen.items() if plain_class(m) is not None and n not in whole]
    names = [n for n in chosen if n not in layers and not is_within(n, [*whole, *left])]
    # Whatever has buffers and no twin, also in what is left as it is.
    others = [n for n in every if n not in set(layers)]
    told = {name: Segments(parts) for name, parts in _by_layer(segments, layers).items()}
    by_layer = _by_layer(rules, layers)

    def convert(network):
        state = SlimState(width_range, divisor)
        state.full = full
        for name in layers:
            layer = network.get_submodule(name)
            plain = plain_class(layer)
            same = plain not in LENT and keeps_forward(layer, plain)
            layer.__class__ = TWINS[plain] if same else twin_of(type(layer), plain)
            layer.slim, layer.prepared = state, Prepared()
            if isinstance(layer, BatchNormTwin):
                layer.statistics = {}
        for module in network.modules():
            if isinstance(module, nn.TransformerEncoderLayer):
                # Without gradients it would run as one operation, on weights of its layers that it
                # reads by itself: whole ones, at every width.
                module.activation_relu_or_gelu = 0
        network.slim_state = state
        return state

    def tell(network, plan):
        tell_plan(network, plan, layers, parameters, told)
        for name in others:
            module = network.get_submodule(name)
            if name in plan.moved and may_lend(module) and not isinstance(module, Lender):
                lend(module, {}, network.slim_state)

    def parameters(network):
        return channel_parameters(network, names)

    attention_may_run = [*exclude, *left]
    passes, plan, first = settle(
        model, trials(model, example), convert, parameters, tell, by_layer, attention_may_run
    )
    plan.whole_modules = whole
    plan.share, plan.example = _share(plan, passes, layers), first
    state = convert(model)
    for name, dim in plan.channel_dims.items():
        model.get_submodule(name).channel_dim = dim
    tell(model, plan)
    state.plan = plan
    model.register_forward_pre_hook(begin_forward)
    model.register_forward_hook(end_forward)
    if plan.share < _LITTLE:
        warnings.warn(
            f"slimmable(): {plan.share:.0%} of the multiply-adds of {type(model).__name__} follow "
            "the width; slimmable_report(model) says which layers do not, and why",
            stacklevel=2,
        )
    return model


def _by_layer(by_pattern, layers):
    """``{layer: value}`` of the last pattern that fits; a Fixed() holds for all in a module."""
    return {
        name: value
        for pattern, value in by_pattern.items()
        for name in layers
        if fnmatchcase(name, pattern) or (value == Fixed() and is_within(name, [pattern]))
    }


def tell_plan(network, plan, layers, parameters, told):
    """Gives every layer of ``network``, which is converted, its rules and segments."""
    for name in layers:
        layer = network.get_submodule(name)
        made = plan.outputs.get(name)
        layer.__dict__.pop("out_segments", None)
        if made is None:  # it did not run: it stays whole
            layer.out_rule = Fixed()
        elif len(made.parts) == 1:
            layer.out_rule = made.parts[0].rule
        else:
            layer.out_segments = made
        read = plan.inputs.get(name)
        layer.__dict__.pop("in_segments", None)
        layer.__dict__.pop("in_part", None)
        if name in told:
            _check_told(name, told[name], read, layer)
            layer.in_segments = told[name]
        elif read is None:
            layer.in_segments = Segments([Segment(reads(layer), Fixed())])
        elif len(read.parts) > 1 and not all(part.rule == Fixed() for part in read.parts):
            layer.in_segments = read
        elif len(read.parts) == 1:
            layer.in_part = read.parts[0]
    for module in {id(m): m for m, _, _ in parameters(network).values()}.values():
        if isinstance(module, Lender):  # of an earlier plan
            lend(module, {}, network.slim_state)
    loans = {}
    for source, (module, own, dim) in parameters(network).items():
        made = plan.outputs.get(source)
        if made is None:
            made = Segments([Segment(max(getattr(module, own).shape), Fixed())])
        whole = all(part.rule == Fixed() for part in made.parts)
        if not whole or own in module._buffers:  # which training may write to
            loans.setdefault(id(module), (module, {}))[1][own] = Loan(made, dim, source)
    for module, own in loans.values():
        lend(module, own, network.slim_state)


def reads(layer):
    """How many channels a layer, whole, reads."""
    for name in ("in_channels", "in_features", "num_features", "num_channels"):
        if hasattr(layer, name):
            return getattr(layer, name)
    return layer.normalized_shape[-1]


def _check_told(name, told, read, layer):
    state = layer.slim
    for width in (*state.width_range, sum(state.width_range) / 2):
        ours = [s.index(width, state.divisor, torch.device("cpu")).tolist() for s in (told, read)]
        if ours[0] != ours[1]:
            raise InputError(
                f"slimmable(): {name}: the segments told are {told}, but at width {width:g} "
                f"{len(ours[1])} of the channels that it reads arrive, not {len(ours[0])}; leave "
                "them out, since they are found"
            )


def _share(plan, passes, layers):
    """The share of multiply-adds of layers whose input or output becomes narrower."""
    macs, known = passes[0].found.macs, set(layers)

    def follows(name):
        segments = [plan.outputs.get(name), plan.inputs.get(name)]
        parts = [part for s in segments if s is not None for part in s.parts]
        return name in known and any(part.rule != Fixed() for part in parts)

    total = sum(macs.values())
    return sum(cost for name, cost in macs.items() if follows(name)) / total if total else 1.0


def slim_state(model):
    """The shared state of a slimmable ``model``, or of a copy or a part of one.

    Raises:
        InputError: if the model was never made slimmable, or is no network.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"expected a network (torch.nn.Module), got {shown(model)}")
    state = getattr(model, "slim_state", None)
    if state is None:
        layer = next((m for m in model.modules() if isinstance(m, Twin)), None)
        if layer is None:
            raise InputError(
                f"{type(model).__name__} is not slimmable: call mutualvideo.slimmable(model) first"
            )
        state = layer.slim
    return state


def set_width(model, width):
    """Switches ``model`` to ``width`` for whatever input arrives; O(1).

    At the widest width this is the full network.

    A network is switched as a whole: two threads that switch and run one network at the same time
    need a lock around both, or a network each (:func:`~mutualvideo.extract` makes them). A switch
    in the midst of a forward pass is noticed: the pass then raises an InputError.

    Raises:
        InputError: if the width is outside the range the network was made slimmable for.
    """
    slim_state(model).select(width)
    tell_subnet(model, None)


def set_subnet(model, subnet):
    """Switches ``model`` to ``subnet``; O(1). What is said of threads at :func:`set_width` holds.

    The caller feeds it clips of that shape: :func:`~mutualvideo.slim.subnet_input` makes
    them from the full clip. Networks with pathways (SlowFast) make them inside.

    Raises:
        InputError: if the width is outside the range, or the network cannot take the
            frames or the size.
    """
    state, subnet = slim_state(model), Subnet.of(subnet)
    if state.full is not None and (state.full.frames is None) != (subnet.frames is None):
        takes = "pictures, WIDTHxSIZE" if state.full.frames is None else "WIDTHxFRAMESxSIZE"
        raise InputError(f"sub-network {subnet}: this network takes {takes}, such as {state.full}")
    check_subnet(model, subnet)
    state.select(subnet.width, subnet)
    tell_subnet(model, subnet)


def forget_slimming(network):
    """Takes from ``network``, whose layers are plain again, what slimmable() added to the root."""
    network.__dict__.pop("slim_state", None)
    for hooks, ours in (
        (network._forward_pre_hooks, begin_forward),
        (network._forward_hooks, end_forward),
    ):
        for key in [key for key, hook in hooks.items() if hook is ours]:
            del hooks[key]
