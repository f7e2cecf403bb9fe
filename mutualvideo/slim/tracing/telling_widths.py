"""At which widths a network has to be proved: where its counts of channels tell something new."""

import numpy as np

from mutualvideo.slim.tracing.shadow import flat, is_labelled

# Widths are looked through in steps of this.
_STEP = 1 / 2000


def changes(rules, width_range, divisor):
    """A width for every combination of counts of channels that there is.

    Args:
        rules: pairs of (channels, rule).
        width_range, divisor: of the network.
    """
    low, high = (round(10_000 * width) for width in width_range)
    rules, seen = set(rules), {}
    for step in range(low, high + 1) if rules else ():
        counts = tuple(rule.active(channels, step / 10_000, divisor) for channels, rule in rules)
        seen.setdefault(counts, step / 10_000)
    return list(seen.values())


def partings(plan, events, width_range, divisor, proved):
    """Widths at which sizes part that keep their proportions at all of ``proved``.

    A forward may take the size of one tensor for that of another, such as
    ``z[:, : y.shape[1]]``. Where both are made of layers that are rounded apart (128 channels, and
    64 joined to 64), they agree at some widths alone.

    Args:
        plan: :class:`~.channel_blocks.Plan`.
        events: of the passes at full width, see :class:`~.flow.ChannelFlow`.
        width_range, divisor: of the network.
        proved: widths that are proved anyhow.

    Returns:
        list of widths, of which there is one for every pair of sizes that part anywhere.
    """
    low, high = width_range
    steps = np.arange(low, high, _STEP)
    widths = list(dict.fromkeys([*proved, *steps.tolist()]))
    kinds = list(dict.fromkeys((len(channels), rule) for channels, rule in plan.blocks))
    counts = [[rule.active(size, w, divisor) for size, rule in kinds] for w in widths]
    _, first = np.unique(np.array(counts).reshape(len(widths), -1), axis=0, return_index=True)
    first = sorted({*range(len(proved)), *first.tolist()})
    widths = [widths[place] for place in first]
    shares = _shares(plan, events, widths, divisor)
    parted = (shares[:, :, None] != shares[:, None, :]).reshape(len(widths), -1)
    missing = parted.any(0) & ~parted[: len(proved)].any(0)
    found = []
    while missing.any():
        best = int((parted & missing).sum(1).argmax())
        found.append(widths[best])
        missing &= ~parted[best]
    return found


def _shares(plan, events, widths, divisor):
    """float64 (widths, sizes): of every size that there is, what is left of it; each row once."""
    active = np.stack([plan.active(width, divisor) for width in widths])
    seen, columns = set(), {}
    for event in events:
        for _, shadow in event[3]:
            if not is_labelled(shadow) or id(shadow) in seen:
                continue
            seen.add(id(shadow))
            labels = plan.labels.canonical(flat(shadow))
            column = active[:, labels].mean(1)
            columns.setdefault(column.tobytes(), column)
    return np.stack(list(columns.values()), 1) if columns else np.zeros((len(widths), 0))
