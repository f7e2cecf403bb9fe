"""Channels that the forward takes apart: rules under which it takes the same pieces at any width.

A forward computes where to cut from the number of channels that arrive, such as a third of them.
If pieces were rounded one by one, that would be another place at some widths. Pieces of equal size
follow one rule; those of unequal size keep their proportions, so that any share of the channels
that is rounded up, down or to the nearest is that piece at every width.
"""

import math

import numpy as np

from mutualvideo.slim.rules import Scaled, Share


def rules_of_pieces(labels, number, sizes, multiples, unbound, width, divisor):
    """``{block: rule}`` of those that the forward takes from one tensor, and those without.

    Args:
        labels: :class:`~.labels.Labels`.
        number: int (labels,): the block of every label, -1 for whole ones.
        sizes: channels of every block.
        multiples: what each block's channels must be a multiple of.
        unbound: blocks that are pinned, or whose rule the caller gave.
        width, divisor: the narrowest width, and what layers' channels are multiples of.

    Returns:
        (rules, set of blocks for which there is none: where their counts change has to be proved).
    """
    rules, loose = {}, set()
    for blocks, lengths in _families([number[labels.canonical(cut)] for cut in labels.cuts]):
        rule = None
        if not blocks & unbound and -1 not in blocks:
            rule = _rule({b: sizes[b] for b in blocks}, lengths, multiples)
        unit = getattr(rule, "unit", None)
        if rule is None or (unit and rule.active(unit, width, divisor) == unit):
            loose |= blocks - unbound - {-1}
        else:
            rules |= dict.fromkeys(blocks, rule)
    return rules, loose


def _families(cuts):
    """Sets of blocks that occur in a cut tensor together, and the lengths of those tensors."""
    families = []
    for cut in cuts:
        blocks, lengths = set(np.unique(cut).tolist()), [len(cut)]
        apart = []
        for family in families:
            if family[0] & blocks:
                blocks, lengths = blocks | family[0], lengths + family[1]
            else:
                apart.append(family)
        families = [*apart, (blocks, lengths)]
    return families


def _rule(sizes, lengths, multiples):
    """The rule of blocks ``sizes``, ``{block: channels}``."""
    needed = {block: int(multiples[block]) for block in sizes}
    if len(set(sizes.values())) == 1:
        return Scaled(math.lcm(*needed.values()))
    unit = math.gcd(*sizes.values())
    parts = math.gcd(*lengths) // unit
    of_unit = (m // math.gcd(m, sizes[block] // unit) for block, m in needed.items())
    return Share(unit, parts, math.lcm(*of_unit))
