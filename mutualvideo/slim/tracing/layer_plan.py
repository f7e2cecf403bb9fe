"""From what tracing found to what each layer is told: its rule and its segments."""

import math
from dataclasses import dataclass

from mutualvideo.errors import InputError
from mutualvideo.slim.rules import Fixed, Scaled, Segment, Segments


@dataclass(frozen=True)
class Plan:
    """What a network's layers are told, and how its channels flow.

    Attributes:
        rules: ``{layer: rule}`` of every layer that makes channels.
        inputs: ``{layer: Segments}`` of what every layer reads.
        parts: ``{layer: parts}``: the same with the layers that made each part.
        classes: sets of layers whose outputs are combined, so that they agree.
    """

    rules: dict
    inputs: dict
    parts: dict
    classes: tuple


def make_plan(found, rules):
    """Rules and segments of all layers.

    Layers whose outputs are added to each other form a class and follow one rule: the one
    that the caller gave to any of them, else the default. A class that must stay whole is
    ``Fixed()``.

    Args:
        found: :class:`~mutualvideo.slim.tracing.trace.Trace`.
        rules: ``{layer: rule}`` that the caller gave.

    Returns:
        :class:`Plan`.

    Raises:
        InputError: if two rules of the caller contradict each other, or what was found.
    """
    sources = {p.source for parts in found.inputs.values() for p in parts or ()} - {None}
    sources |= found.outputs | found.pinned.keys() | rules.keys()
    chosen, classes = {}, []
    for members, fixed_by in _classes(sources, found):
        classes.append(frozenset(members))
        given = {name: rules[name] for name in sorted(members) if name in rules}
        if len(set(given.values())) > 1:
            (one, a), (other, b) = list(given.items())[:2]
            raise InputError(
                f"slimmable(): the outputs of {one} ({a}) and {other} ({b}) are combined: give "
                "them one rule"
            )
        rule = next(iter(given.values()), None)
        if fixed_by is not None and rule not in (None, Fixed()):
            raise InputError(
                f"slimmable(): the rule {rule} of {next(iter(given))} cannot hold: {fixed_by}"
            )
        if rule is None:
            keep = fixed_by is not None or members & found.outputs
            multiple = math.lcm(*(found.multiples.get(name, 1) for name in members))
            rule = Fixed() if keep else Scaled(multiple)
        chosen |= dict.fromkeys(members, rule)
    inputs = {
        name: Segments(
            Segment(p.channels, chosen.get(p.source, Fixed()), _whole(p.times)) for p in parts
        )
        for name, parts in found.inputs.items()
        if parts is not None
    }
    return Plan(chosen, inputs, found.inputs, tuple(classes))


def _whole(times):
    return int(times) if times == int(times) else times


def _classes(sources, found):
    """(members, why they must stay whole or ``None``) of each class of agreeing layers."""
    root = {name: name for name in sources}
    fixed_by = dict(found.pinned)

    def find(name):
        root.setdefault(name, name)
        while root[name] != name:
            name = root[name]
        return name

    for a, b in found.unions:
        if a is None or b is None:
            name = b if a is None else a
            if name is not None:
                fixed_by.setdefault(
                    name, "its output is combined with channels that are all there at every width"
                )
            continue
        root[find(a)] = find(b)
    classes = {}
    for name in root:
        classes.setdefault(find(name), set()).add(name)
    for members in classes.values():
        yield members, next((fixed_by[name] for name in sorted(members) if name in fixed_by), None)
