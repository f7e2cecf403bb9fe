"""From what passes at full width showed to what each layer is told: its rule and its segments.

Channels that are always active together, one after the other, form a block: all that one layer
makes, or the part of it that a split takes. Each block follows one rule.
"""

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from mutualvideo.errors import InputError
from mutualvideo.slim.rules import Fixed, Mixed, Scaled, Segment, Segments
from mutualvideo.slim.tracing.labels import FREE
from mutualvideo.slim.tracing.pieces import rules_of_pieces

_COMBINED = "its output is combined with channels that are all there at every width"


@dataclass(eq=False)
class Plan:
    """What a network's layers are told, and how its channels flow. Never written to once made.

    Attributes:
        outputs: ``{layer or parameter: Segments}`` of what makes channels.
        inputs: ``{layer: Segments or Mixed}`` of what every layer reads.
        labels: :class:`~.labels.Labels` of the network.
        reads: ``{layer: labels}`` that every layer reads.
        blocks: list of (labels, rule) of every block, in the order of ``number``.
        number: int32 (labels,): the block of every canonical label, -1 for whole ones.
        place: int32 (labels,): which of the block's channels it is.
        kept: ``{layer: reason}`` of layers of which some channels never become inactive.
        loose: pairs of (channels, rule) of blocks that the forward takes apart and that keep no
            proportions to one another.
        locked: bool (blocks,): their channels may not be exchanged, for the sake of the answers.
        moved: modules that write to buffers of theirs in training.
        moving: names of the operations that take channels apart or move them.
        share: of multiply-adds that follow the width.
        whole_modules: ``{module: reason}`` of those that are left as they are.
        lent: names of layers whose parameters something else reads.
        channel_dims: ``{layer: dimension}`` of LayerNorms whose channels are not the last.
        example: arguments that the network was traced on.
    """

    outputs: dict
    inputs: dict
    labels: object
    reads: dict
    blocks: list
    number: np.ndarray
    place: np.ndarray
    kept: dict
    loose: set = field(default_factory=set)
    moved: set = field(default_factory=set)
    locked: np.ndarray = None
    moving: set = field(default_factory=set)
    share: float = 1.0
    whole_modules: dict = field(default_factory=dict)
    lent: set = field(default_factory=set)
    channel_dims: dict = field(default_factory=dict)
    example: object = None

    def __post_init__(self):
        self.active = lru_cache(64)(self._active)

    @property
    def rules(self):
        """``{layer: rule}`` of everything that makes channels; of several blocks, the first's."""
        return {name: segments.parts[0].rule for name, segments in self.outputs.items()}

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        # A network that is pickled keeps its layers' rules; how they were found stays behind.
        return _Unplanned, ()

    def _active(self, width, divisor):
        """bool (labels,): which channels are active at a width."""
        sizes = [len(labels) for labels, _ in self.blocks]
        counts = [
            rule.active(size, width, divisor)
            for size, (_, rule) in zip(sizes, self.blocks, strict=True)
        ]
        counts = np.array([*counts, 1 << 30])  # the last one is that of whole channels, -1
        canonical = self.labels.canonical(np.arange(len(self.labels)))
        return self.place[canonical] < counts[self.number[canonical]]


def _Unplanned():
    return None


def make_plan(labels, reads, rules, width, divisor):
    """Blocks, rules and segments of all layers.

    Args:
        labels: :class:`~.labels.Labels`.
        reads: ``{layer: labels}`` that layers read.
        rules: ``{layer: rule}`` that the caller gave.
        width, divisor: the narrowest width, and what layers' channels are multiples of.

    Raises:
        InputError: if two rules of the caller contradict each other, or what was found.
    """
    vectors = {name: labels.canonical(labels.of(name, n)) for name, (_, n) in _sources(labels)}
    for name, rule in rules.items():
        if rule == Fixed() and name in vectors:
            labels.pin(labels.of(name, len(vectors[name])), _COMBINED)
    _pin_parameters_alone(labels, reads, vectors)
    number, place, members = _blocks(labels, vectors, labels.pinned())
    multiples = _multiples(labels, number, place, members)
    if multiples is None:  # a window read channels of several blocks, and pinned them
        return make_plan(labels, reads, rules, width, divisor)
    kept = _reasons(labels, vectors)
    chosen, unbound = _rules(labels, vectors, rules, number, members, multiples, kept)
    sizes = [len(channels) for channels in members]
    found, loose = rules_of_pieces(labels, number, sizes, multiples, unbound, width, divisor)
    chosen = [found.get(block, rule) for block, rule in enumerate(chosen)]
    blocks = list(zip(members, chosen, strict=True))
    loose = {(sizes[block], chosen[block]) for block in loose}
    plan = Plan({}, {}, labels, reads, blocks, number, place, kept, loose)
    for name, vector in vectors.items():
        plan.outputs[name] = _segments(vector, number, place, blocks)
    for name, vector in reads.items():
        plan.inputs[name] = _segments(labels.canonical(vector), number, place, blocks)
    return plan


def _sources(labels):
    return list(labels.sources.items())


def _pin_parameters_alone(labels, reads, vectors):
    """Parameters that no layer's channels meet stay whole."""
    made = [vector for name, vector in vectors.items() if name not in labels.parameters]
    with_layers = np.unique(np.concatenate(made)) if made else np.zeros(0, np.int32)
    for name in labels.parameters & vectors.keys():
        alone = ~np.isin(vectors[name], with_layers)
        if alone.any():
            own = labels.of(name, len(vectors[name]))
            labels.pin(own[alone], "no slimmable layer makes the channels that it is for")


def _blocks(labels, vectors, pinned):
    """(block of every label, place in it, labels of every block)."""
    starts = set(labels.canonical(np.array(sorted(labels.starts), np.int64)).tolist())
    for vector in vectors.values():
        breaks = np.flatnonzero(np.diff(vector) != 1)
        firsts = vector[np.concatenate([[0], breaks + 1])]
        lasts = vector[np.concatenate([breaks, [len(vector) - 1]])]
        starts.update(firsts.tolist(), (lasts + 1).tolist())
    number = np.full(len(labels), -1, np.int32)
    place = np.zeros(len(labels), np.int32)
    known = np.unique(np.concatenate([*vectors.values(), np.zeros(0, np.int32)]))
    is_pinned = np.isin(known, pinned)
    begins = np.isin(known, np.fromiter(starts, np.int64, len(starts)))
    if len(known):
        begins[0] = True
        begins[1:] |= (np.diff(known) != 1) | (is_pinned[1:] != is_pinned[:-1])
    at = np.flatnonzero(begins)
    members = np.split(known, at[1:]) if len(known) else []
    for block, channels in enumerate(members):
        number[channels] = block
        place[channels] = np.arange(len(channels))
    return number, place, members


def _multiples(labels, number, place, members):
    """What each block's channels must be a multiple of; ``None``: something was pinned."""
    multiples = np.ones(len(members), np.int64)
    pinned_any = False
    pinned = labels.pinned()
    for vector, size in labels.windows:
        canonical = labels.canonical(vector).reshape(-1, size)
        blocks = number[canonical]
        mixed = (blocks != blocks[:, :1]).any(1)
        if mixed.any():
            pinned_any |= labels.pin(
                canonical[mixed].reshape(-1), f"a layer reads it {size} channels at a time"
            )
        for block in np.unique(blocks[~mixed]):
            if block < 0 or np.isin(members[block][0], pinned):
                continue
            rows = place[canonical[(blocks == block).all(1)]]
            low, high = rows.min(1), rows.max(1)
            cuts = np.ones(len(members[block]) + 1, bool)
            for one, other in zip(low, high, strict=True):
                cuts[one + 1 : other + 1] = False
            total = len(members[block])
            multiple = next(m for m in range(1, total + 1) if cuts[:total:m].all())
            multiples[block] = math.lcm(int(multiples[block]), multiple)
    return None if pinned_any else multiples


def _reasons(labels, vectors):
    """``{layer: why some of its channels are pinned}``."""
    by_label = {}
    for pinned, reason in labels.pins:
        for label in np.unique(labels.canonical(pinned)).tolist():
            by_label.setdefault(label, reason)
    kept = {}
    for name, vector in vectors.items():
        reason = next((by_label[x] for x in vector.tolist() if x in by_label), None)
        if reason is not None and name not in labels.parameters:
            kept[name] = reason
    return kept


def _rules(labels, vectors, rules, number, members, multiples, kept):
    """The rule of every block, and the set of those that are pinned or the caller's."""
    given = [{} for _ in members]
    for name in sorted(rules.keys() & vectors.keys()):
        rule = rules[name]
        own = np.unique(number[vectors[name]])
        for block in own:
            given[block][name] = rule
        if len(own) > 1 and rule not in (Fixed(),) and not isinstance(rule, Scaled):
            reason = kept.get(name, "its channels are read in parts, each of which is rounded")
            raise InputError(
                f"slimmable(): the rule {rule} of {name} cannot hold: {reason}; what helps: "
                f"rules={{{name!r}: Fixed()}}"
            )
    pinned = set(labels.pinned().tolist())
    chosen, unbound = [], set()
    for block, channels in enumerate(members):
        asked = given[block]
        others = {name: rule for name, rule in asked.items() if rule != Fixed()}
        if int(channels[0]) in pinned:
            if others:
                name, rule = next(iter(others.items()))
                raise InputError(
                    f"slimmable(): the rule {rule} of {name} cannot hold: {kept[name]}; what "
                    f"helps: rules={{{name!r}: Fixed()}}"
                )
            chosen.append(Fixed())
            unbound.add(block)
            continue
        if len(set(others.values())) > 1:
            (one, a), (other, b) = list(others.items())[:2]
            raise InputError(
                f"slimmable(): the outputs of {one} ({a}) and {other} ({b}) are combined: give "
                f"them one rule; what helps: rules={{{one!r}: Fixed(), {other!r}: Fixed()}}"
            )
        rule = next(iter(others.values()), None)
        if rule is not None:
            unbound.add(block)
        chosen.append(Scaled(int(multiples[block])) if rule is None else rule)
    return chosen, unbound


def _segments(vector, number, place, blocks):
    """What is active of the entries ``vector``, canonical labels."""
    block, at = number[vector], place[vector]
    scaled = np.array([rule != Fixed() for _, rule in blocks] + [False])
    block = np.where(scaled[block] & (vector > FREE), block, -1)
    # A run: entries of one block in the order of its channels, or whole ones.
    new = (np.diff(block) != 0) | ((np.diff(at) < 0) & (block[1:] >= 0))
    bounds = [0, *(np.flatnonzero(new) + 1).tolist(), len(vector)]
    parts = []
    for start, end in zip(bounds, bounds[1:], strict=False):
        if block[start] < 0:
            parts.append(Segment(end - start, Fixed()))
            continue
        channels, rule = blocks[block[start]]
        count, size = end - start, len(channels)
        times = count // size
        if count % size or (at[start:end] != np.arange(size).repeat(times)).any():
            return _mixed(block, at, blocks)
        parts.append(Segment(size, rule, times))
    return Segments(parts)


def _mixed(block, at, blocks):
    used = sorted(set(block.tolist()) - {-1})
    parts = [Segment(len(blocks[b][0]), blocks[b][1]) for b in used] + [Segment(1, Fixed())]
    index = {b: place for place, b in enumerate(used)} | {-1: len(used)}
    place = np.where(block < 0, 0, at)
    return Mixed(parts, [index[b] for b in block.tolist()], place.tolist())
