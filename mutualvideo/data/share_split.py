"""Divides videos into training and validation, where nobody has: seeded, class by class."""

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence
from functools import partial

from mutualvideo.errors import InputError

# Passes over the groups that try to bring the classes nearer to their shares, and how many orders
# of the groups they begin with until every class is on both sides.
_PASSES, _ORDERS = 5, 20


def held_out(
    names: Sequence[str],
    labels: Sequence[int],
    groups: Sequence[Hashable],
    share: float,
    seed: int,
    classes: Sequence[str],
) -> set[int]:
    """Which videos are for validation: ``share`` of every class's, as nearly as groups allow.

    Every class has at least one video on either side. Which videos it is depends on the names of
    the groups and the seed, not on the order of the list: a group that is added later moves few
    others.

    Args:
        names: of the videos, for messages.
        labels: class of each.
        groups: what each belongs to; videos of one group stay on one side.
        share: above 0 and below 1.
        seed: another one gives another division.
        classes: names by label.

    Returns:
        Positions in the lists.

    Raises:
        InputError: naming a class that cannot be divided: it has one video, or one group; or if
            groups of several classes leave no division at all.
    """
    members: dict[Hashable, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    counts = {group: Counter(labels[at] for at in found) for group, found in members.items()}
    total: Counter[int] = Counter(labels)
    for label in sorted(total):
        having = [group for group in counts if label in counts[group]]
        if len(having) > 1:
            continue
        what = f"one video, {names[members[having[0]][0]]}"
        if total[label] > 1:
            what = f"videos of one group alone, {having[0]!r}"
        raise InputError(
            f"the class {classes[label]} has {what}: it cannot be in training and in validation; "
            "add videos, or make folders train and val yourself"
        )
    wanted = {label: min(max(1, share * n), n - 1) for label, n in total.items()}
    for attempt in range(_ORDERS):
        order = sorted(counts, key=partial(_draw, f"{seed}.{attempt}" if attempt else str(seed)))
        inside, have = _nearest(order, counts, wanted, total)
        one_sided = [label for label in sorted(total) if not 0 < have[label] < total[label]]
        if not one_sided:
            return {at for group in inside for at in members[group]}
    raise InputError(
        f"the class {classes[one_sided[0]]} cannot be divided together with the others: groups "
        "hold videos of several classes; make folders train and val yourself, or smaller groups"
    )


def _nearest(order, counts, wanted, total):
    """(groups for validation, how many videos of each class they have)."""
    inside: set[Hashable] = set()
    have: Counter[int] = Counter()
    for _ in range(_PASSES):
        moved = False
        for group in order:
            sign = -1 if group in inside else 1
            if _change(counts[group], have, wanted, total, sign) < -1e-9:
                inside ^= {group}
                for label, n in counts[group].items():
                    have[label] += sign * n
                moved = True
        if not moved:
            break
    return inside, have


def _change(group, have, wanted, total, sign):
    """How much farther from the shares all is if ``group`` comes (1) or goes (-1)."""
    change = 0.0
    for label, n in group.items():
        before, after = have[label], have[label] + sign * n
        change += (after - wanted[label]) ** 2 - (before - wanted[label]) ** 2
        # A class that is on one side alone is worse than any distance.
        worst = (total[label] + 1) ** 2
        change += worst * ((after in (0, total[label])) - (before in (0, total[label])))
    return change


def _draw(seed, group):
    return hashlib.sha256(f"{seed} {group}".encode("utf-8", "surrogateescape")).digest()
