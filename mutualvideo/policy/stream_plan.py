"""Which row each of several streams gets, so that all deadlines hold on one device."""

from dataclasses import dataclass

from mutualvideo.budget import check_budget
from mutualvideo.errors import InputError
from mutualvideo.policy.controller import ladder_of
from mutualvideo.table.query import Row

# Percentage points of average accuracy that are not worth searching for: tables are printed with
# as many digits, and proving the last thousandth takes most of the time.
_GAP = 1e-2


@dataclass(frozen=True)
class Stream:
    """A camera, a file, a client.

    Args:
        name: what it is called.
        rate: clips per second, at most: 1 / rate seconds or more lie between two clips.
        weight: how much its accuracy counts.

    Raises:
        InputError: if rate or weight is not a finite number above 0.
    """

    name: str
    rate: float
    weight: float = 1.0

    def __post_init__(self):
        for key in ("rate", "weight"):
            try:
                check_budget(ms=getattr(self, key))
            except InputError:
                raise InputError(
                    f"stream {self.name!r}: {key} must be a number above 0, "
                    f"got {getattr(self, key)!r}"
                ) from None

    @property
    def period_ms(self):
        """Milliseconds from one clip to the next: what each has to be answered in."""
        return 1000 / self.rate


@dataclass(frozen=True)
class Plan:
    """A row for every stream.

    Args:
        rows: ``{name: Row}``.
        load: the share of the device that the deadlines need, see :func:`load_of`.
        slowdown: the factor on the table's latencies it was made for.
        feasible: whether ``load`` is within the share; if not, these are the cheapest rows.
    """

    rows: dict[str, Row]
    load: float
    slowdown: float
    feasible: bool


def load_of(periods_ms, latencies_ms):
    """The share of the device with which every clip is answered within its stream's period.

    One clip runs at a time, to its end; the waiting clip with the earliest deadline goes
    next. Clips of a stream come at least its period apart, at any phase. No deadline is then
    missed if, for every stream i,

        sum of latency / period over the streams with periods up to i's
        + the longest latency among those with longer periods / i's period   <=   1.

    The second term is the clip that has just started and is not interrupted. It follows from
    the demand test for earliest-deadline-first without preemption (Jeffay, Stanat and Martel
    1991; George, Rivierre and Spuri 1996), whose step functions are bounded by lines here:
    sufficient, and necessary where all periods are equal.

    Args:
        periods_ms, latencies_ms: one each for every stream.

    Returns:
        float, the greatest of the left sides; 0.5 means half the device would do.
    """
    load = 0.0
    for period in set(periods_ms):
        within = [c / p for p, c in zip(periods_ms, latencies_ms, strict=True) if p <= period]
        longer = [c for p, c in zip(periods_ms, latencies_ms, strict=True) if p > period]
        load = max(load, sum(within) + max(longer, default=0.0) / period)
    return load


def plan_rows(table, streams, slowdown=1.0, share=0.9, best_effort=False):
    """The row of every stream for which the weighted sum of accuracies is greatest.

    Greatest of all assignments of Pareto rows whose :func:`load_of` is at most ``share``:
    found by dynamic programming over the streams in order of their periods, to a hundredth of
    a percentage point on average.

    Args:
        table: a ``QueryTable`` with latencies and accuracies.
        streams: ``Stream`` objects with names of their own.
        slowdown: factor on the table's latencies.
        share: how much of the device may be planned, up to 1; the rest is for jitter and for
            what is not in the table, such as decoding on the same cores.
        best_effort: give every stream the cheapest row where nothing fits, instead of
            raising an error.

    Returns:
        A :class:`Plan`.

    Raises:
        InputError: if nothing fits, saying by how much; if the table lacks latencies, names
            come twice or there is no stream, or a number is out of range.
    """
    streams = list(streams)
    names = [stream.name for stream in streams]
    if not streams or len(set(names)) < len(names):
        raise InputError("scheduler: expected at least one stream, no name twice")
    if not 0 < share <= 1 or not slowdown > 0:
        raise InputError(
            f"scheduler: share must be above 0 and at most 1 and slowdown above 0, "
            f"got {share} and {slowdown}"
        )
    ladder = ladder_of(table, "ms")
    costs = [row.latency_ms * slowdown for row in ladder]
    merits = [row.macs if row.top1 is None else row.top1 for row in ladder]
    periods = [stream.period_ms for stream in streams]
    chosen = _solve(streams, costs, merits, share)
    if chosen is None and not best_effort:
        load = load_of(periods, [costs[0]] * len(streams))
        raise InputError(
            f"scheduler: {len(streams)} streams need {load:.2f} of the device with the cheapest "
            f"row, {ladder[0].subnet}, {load / share:.2f} times the share of {share:g}: "
            "take fewer streams or lower rates"
        )
    indices = chosen or [0] * len(streams)
    load = load_of(periods, [costs[index] for index in indices])
    rows = {name: ladder[index] for name, index in zip(names, indices, strict=True)}
    return Plan(rows, load, slowdown, chosen is not None)


def _solve(streams, costs, merits, share):
    """Index of each stream's row, or ``None`` if not even the cheapest rows fit.

    Streams are taken in order of growing periods. What the ones so far mean for the rest are
    three numbers: their part of the load (less is better), the longest clip that may still
    come without making one of them late (more is better), and the accuracy (more is better).
    States that another beats in all three are dropped, and those that could not beat a greedy
    plan by _GAP even if nothing blocked and rows were divisible (the Lagrangian bound).
    """
    order = sorted(range(len(streams)), key=lambda i: (streams[i].period_ms, i))
    loads = [[cost / streams[i].period_ms for cost in costs] for i in order]
    gains = [[streams[i].weight * merit for merit in merits] for i in order]
    slack = 1e-9
    floor = [0.0] * (len(order) + 1)
    for n in reversed(range(len(order))):
        floor[n] = floor[n + 1] + loads[n][0]
    if load_of([s.period_ms for s in streams], [costs[0]] * len(streams)) > share + slack:
        return None
    price = _price(loads, gains, share)
    # What the streams from n on add at most, beside price * the load that is left.
    ceiling = [0.0] * (len(order) + 1)
    for n in reversed(range(len(order))):
        best = max(g - price * u for g, u in zip(gains[n], loads[n], strict=True))
        ceiling[n] = ceiling[n + 1] + best
    greedy = _greedy(streams, order, costs, gains, share + slack)
    # What a plan must reach to be worth looking for.
    known = sum(gains[n][row] for n, row in enumerate(greedy))
    known += _GAP * sum(stream.weight for stream in streams)
    # (load, longest clip allowed, accuracy, rows as a linked list)
    states = [(0.0, float("inf"), 0.0, None)]
    for n, i in enumerate(order):
        period = streams[i].period_ms
        last = n + 1 == len(order) or streams[order[n + 1]].period_ms > period
        grown = []
        for load, longest, gain, path in states:
            for row, cost in enumerate(costs):
                new_load, new_gain = load + loads[n][row], gain + gains[n][row]
                if cost > longest + slack or new_load + floor[n + 1] > share + slack:
                    # Dearer rows do not fit either.
                    break
                bound = new_gain + ceiling[n + 1] + price * (share - new_load)
                if bound < known:
                    continue
                # Only once all streams of this period are in does their load count against it.
                room = min(longest, (share - new_load) * period) if last else longest
                grown.append((new_load, room, new_gain, (path, row)))
        states = _undominated(grown)
    rows = [0] * len(order)
    if states:
        path = max(states, key=lambda state: (state[2], -state[0]))[3]
        for n in reversed(range(len(order))):
            path, rows[order[n]] = path
    else:
        for i, row in zip(order, greedy, strict=True):
            rows[i] = row
    return rows


def _undominated(states):
    """States that no other beats or equals in load, room and accuracy."""
    states.sort(key=lambda state: (state[0], -state[2], -state[1]))
    kept, best = [], {}
    for state in states:
        _, room, gain, _ = state
        if all(gain > other for longest, other in best.items() if longest >= room):
            kept.append(state)
            best[room] = gain
    return kept


def _price(loads, gains, share):
    """Accuracy per load at which the streams together would take about the share: bisection."""

    def taken(price):
        total = 0.0
        for load, gain in zip(loads, gains, strict=True):
            merits = [g - price * u for g, u in zip(gain, load, strict=True)]
            total += load[merits.index(max(merits))]
        return total

    low, high = 0.0, 1.0
    while taken(high) > share and high < 1e18:
        high *= 4
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if taken(middle) > share else (low, middle)
    return high


def _greedy(streams, order, costs, gains, share):
    """Rows of a good plan, in that order: from the cheapest up, by the most gain for the load."""
    rows = [0] * len(order)
    periods = [streams[i].period_ms for i in order]
    while True:
        steps = []
        for n, row in enumerate(rows):
            for higher in range(row + 1, len(costs)):
                gain = gains[n][higher] - gains[n][row]
                steps.append((gain * periods[n] / (costs[higher] - costs[row]), n, higher))
        for _, n, higher in sorted(steps, reverse=True):
            trial = [*rows[:n], higher, *rows[n + 1 :]]
            if load_of(periods, [costs[row] for row in trial]) <= share:
                rows = trial
                break
        else:
            return rows
