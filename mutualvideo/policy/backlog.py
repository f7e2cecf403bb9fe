"""Which of the waiting clips go next, together, as which row."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mutualvideo.policy.batching import BatchLatency
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import Row

# A clip without a deadline is due this long after it came; one that can no longer be answered in
# time is due this long after its deadline. Only the order depends on it.
_PATIENCE_S = 1.0


# Whether a sub-network can answer at once.
Ready = Callable[[Subnet], bool]


@dataclass(eq=False)
class Request:
    """A clip that waits for its answer.

    Args:
        clip: what is to be answered.
        steps: the rows that may answer, ``Row`` objects, cheapest first; the last is the best.
        costs: their costs in one unit, ascending.
        arrived_s: when it came, in seconds on the caller's clock.
        deadline_s: when the answer is due; ``None``: whenever.
        client: who asked, anything hashable.
    """

    clip: Any
    steps: tuple[Row, ...]
    costs: tuple[float, ...]
    arrived_s: float
    deadline_s: float | None = None
    client: Any = None

    @property
    def best(self) -> Row:
        """The ``Row`` that answers when there is no hurry."""
        return self.steps[-1]

    def cancelled(self) -> bool:
        """Whether the answer is no longer wanted; the request is then forgotten."""
        return False


Asked = TypeVar("Asked", bound=Request)


@dataclass(frozen=True)
class Choice(Generic[Asked]):
    """What to do now.

    Args:
        batch: ``Request`` objects to answer now; empty: wait.
        row: the ``Row`` to answer them with; ``None`` with an empty batch.
        until_s: when to ask again unless something happens before; ``None``: there is nothing
            to do until a request comes or a sub-network is ready.
        wanted: sub-networks that would be used if they were ready.
    """

    batch: list[Asked]
    row: Row | None
    until_s: float | None
    wanted: frozenset


class Backlog(Generic[Asked]):
    """The clips that wait, in their order.

    Order: clients take turns, one clip each; in the same turn the earlier deadline goes first.
    A client that comes back does not get the turns it was away for.

    Rows: each clip gets its best row if every deadline is then expected to hold, in that order,
    one batch after the other. If not, there is a limit on the cost of all rows, the greatest
    with which they hold; with none they do, every clip gets its cheapest row. A clip whose
    deadline not even its cheapest row could meet, alone and now, gets that row, and its
    deadline is given up: it must not make others late or cheap.

    A row that is not ready is left to the next cheaper one that is; only if there is none, to
    a dearer one within the budget. A clip none of whose rows is ready lets others pass.

    Pure bookkeeping on the caller's clock: no thread, no network. Not thread-safe.

    Args:
        latency: a ``BatchLatency``.
        max_batch: most clips of a batch.
        max_wait_s: seconds that a clip waits for others to share its batch.
    """

    def __init__(self, latency: BatchLatency, max_batch: int, max_wait_s: float) -> None:
        self._latency, self._max_batch, self._max_wait_s = latency, max_batch, max_wait_s
        self._waiting: dict[Asked, int] = {}  # Asked -> its number, in order of arrival
        self._numbers = itertools.count()
        self._turns: dict[Any, int] = {}  # by client, the turn its first waiting clip has

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Asked]:
        return iter(list(self._waiting))

    def add(self, request: Asked) -> None:
        """Takes in a ``Request``."""
        present = {other.client for other in self._waiting}
        if request.client not in present:
            # Turns that are past no longer matter.
            first = min((self._turns[client] for client in present), default=None)
            self._turns = {
                c: t
                for c, t in self._turns.items()
                if c in present or (first is not None and t > first)
            }
            turn = first or 0
            self._turns[request.client] = max(turn, self._turns.get(request.client, turn))
        self._waiting[request] = next(self._numbers)

    def remove(self, requests: Iterable[Asked], served: bool = True) -> None:
        """Takes out ``requests``; ``served``: they have had their turn."""
        for request in requests:
            del self._waiting[request]
            self._turns[request.client] += served

    def choose(self, now_s: float, ready: Ready, hurry: bool = False) -> Choice[Asked]:
        """What to do at ``now_s``.

        Args:
            now_s: seconds on the clock of the requests.
            ready: ``ready(subnet)``: whether it can answer at once.
            hurry: not to wait for others to share a batch.

        Returns:
            A :class:`Choice`; its batch stays here until it is removed.
        """
        self.remove([r for r in self._waiting if r.cancelled()], served=False)
        hopeless = {r for r in self._waiting if self._hopeless(r, now_s)}
        order = self._order(hopeless)
        limit = self._limit(order, hopeless, now_s, ready)
        limits = {r: 0.0 if r in hopeless else limit for r in order}
        targets = {r.steps[_index(r, limits[r])].subnet for r in order}
        wanted = frozenset(subnet for subnet in targets if not ready(subnet))
        for batch, row in self._batches(order, limits, ready):
            until_s = now_s if hurry else self._wait_until(batch, row)
            if until_s > now_s:
                return Choice([], None, until_s, wanted)
            return Choice(batch, row, now_s, wanted)
        return Choice([], None, None, wanted)

    def _hopeless(self, request: Asked, now_s: float) -> bool:
        if request.deadline_s is None:
            return False
        fastest_ms = self._latency.expected_ms(request.steps[0].subnet)
        return now_s + fastest_ms / 1000 > request.deadline_s

    def _order(self, hopeless: set[Asked]) -> list[Asked]:
        clients: dict[Any, list[tuple[float, int, Asked]]] = {}
        for request, number in self._waiting.items():
            if request.deadline_s is None:
                due_s = request.arrived_s + _PATIENCE_S
            else:
                due_s = request.deadline_s + (_PATIENCE_S if request in hopeless else 0.0)
            clients.setdefault(request.client, []).append((due_s, number, request))
        ranked = [
            (turn, *entry)
            for client, entries in clients.items()
            for turn, entry in enumerate(sorted(entries), self._turns[client])
        ]
        return [request for *_, request in sorted(ranked)]

    def _limit(self, order: list[Asked], hopeless: set[Asked], now_s: float, ready: Ready) -> float:
        """The greatest cost of a row with which all deadlines are expected to hold."""
        dated = {r for r in order if r.deadline_s is not None} - hopeless
        if not dated:
            return float("inf")

        def holds(limit: float) -> bool:
            limits = {r: 0.0 if r in hopeless else limit for r in order}
            end_s, left = now_s, len(dated)
            for batch, row in self._batches(order, limits, ready):
                end_s += self._latency.expected_ms(row.subnet, len(batch)) / 1000
                mine = [r.deadline_s for r in batch if r in dated and r.deadline_s is not None]
                if mine and min(mine) < end_s:
                    return False
                left -= len(mine)
                if not left:
                    break
            return True

        if holds(float("inf")):
            return float("inf")
        costs = sorted({cost for request in order for cost in request.costs})
        low, high = 0, len(costs) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if holds(costs[middle]) else (low, middle - 1)
        return costs[low]

    def _batches(
        self, order: list[Asked], limits: dict[Asked, float], ready: Ready
    ) -> Iterator[tuple[list[Asked], Row]]:
        """(requests, row) as they would follow on each other; those without a row left out."""
        rows = {r: ready_row(r.steps, _index(r, limits[r]), ready) for r in order}
        by_row: dict[Row | None, list[Asked]] = {}
        for request in order:
            by_row.setdefault(rows[request], []).append(request)
        done = set()
        for request in order:
            row = rows[request]
            if row is None or request in done:
                continue
            same = by_row[row]
            batch = same[: self._latency.size(row.subnet, min(len(same), self._max_batch))]
            by_row[row] = same[len(batch) :]
            done.update(batch)
            yield batch, row

    def _wait_until(self, batch: list[Asked], row: Row) -> float:
        """When the batch must start whether or not others have come to share it."""
        if self._latency.size(row.subnet, self._max_batch) <= len(batch):
            return float("-inf")
        takes_s = self._latency.expected_ms(row.subnet, len(batch)) / 1000
        until_s = min(request.arrived_s for request in batch) + self._max_wait_s
        # With as much to spare: whoever oversleeps a deadline's last moment needs a cheaper row.
        spare_s = takes_s + self._max_wait_s
        deadlines = (r.deadline_s for r in batch if r.deadline_s is not None)
        return min([until_s, *(deadline_s - spare_s for deadline_s in deadlines)])


def _index(request: Request, limit: float) -> int:
    """Of the dearest row within ``limit``, or of the cheapest."""
    return max(bisect_right(request.costs, limit), 1) - 1


def ready_row(rows: Sequence[Row], index: int, ready: Ready) -> Row | None:
    """``rows[index]`` if it is ready, else the next before it that is, else the next after it.

    Args:
        rows: sequence of ``Row``.
        index: position of the one that is wanted.
        ready: ``ready(subnet)``: whether it can answer at once.

    Returns:
        ``Row``, or ``None`` if none is ready.
    """
    for row in (*rows[index::-1], *rows[index + 1 :]):
        if ready(row.subnet):
            return row
    return None
