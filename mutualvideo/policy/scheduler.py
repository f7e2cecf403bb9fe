"""Several streams on one device: whose clip is next, and with which row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mutualvideo.errors import InputError
from mutualvideo.policy.controller import PATIENCE
from mutualvideo.policy.slowdown import Slowdown
from mutualvideo.policy.stream_plan import Stream, StreamPlan, plan_rows
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable, Row

# A machine faster than planned for by this factor, PATIENCE clips long, is worth a new plan.
_FASTER = 1.15


@dataclass(frozen=True)
class Job:
    """A clip to answer now.

    Args:
        stream: name of its stream.
        row: the ``Row`` to answer with.
        clip: what was submitted.
        deadline_s: when the answer is due, on the caller's clock.
    """

    stream: str
    row: Row
    clip: Any
    deadline_s: float


class Scheduler:
    """Earliest deadline first, one clip at a time, with the rows of a :class:`StreamPlan`.

    Pure bookkeeping on the caller's clock; not thread-safe. A clip is due one period of its
    stream after it was submitted. As long as clips come no faster than their stream's rate,
    take no longer than planned and :meth:`take` is called whenever the device is free,
    no deadline is missed (see :func:`~mutualvideo.policy.stream_plan.load_of`). A new plan is
    made at once when the machine becomes slower than the plan allows for, and after a few clips
    when it becomes faster. Where not even the cheapest rows fit any more, all streams get the
    cheapest.

    Args:
        table: a ``QueryTable`` with latencies and accuracies.
        streams: ``Stream`` objects.
        share: how much of the device is planned, see ``plan_rows``.

    Attributes:
        plan: the :class:`StreamPlan` in force.
        slowdown: the ``Slowdown`` estimate.
        dropped, missed: ``{name: count}``, clips never answered as a newer one of their
            stream came first, and clips answered after their deadline.

    Raises:
        InputError: as ``plan_rows``: if the streams do not fit the device as the table has it.
    """

    def __init__(self, table: QueryTable, streams: Iterable[Stream], share: float = 0.9) -> None:
        self._table, self._streams, self._share = table, list(streams), share
        self.plan: StreamPlan = plan_rows(table, self._streams, share=share)
        self.slowdown = Slowdown(table.rows)
        self._period_s = {stream.name: stream.period_ms / 1000 for stream in self._streams}
        self.dropped = dict.fromkeys(self._period_s, 0)
        self.missed = dict.fromkeys(self._period_s, 0)
        self._waiting: dict[str, tuple[float, float, Any]] = {}
        self._faster = 0

    def submit(self, stream: str, now_s: float, clip: Any = None) -> None:
        """Adds a clip; one that still waits in the same stream is dropped and replaced by it.

        Raises:
            InputError: if there is no such stream.
        """
        if stream not in self._period_s:
            known = ", ".join(map(str, self._period_s))
            raise InputError(f"stream {stream!r} is not scheduled; the streams are {known}")
        deadline_s = now_s + self._period_s[stream]
        # It takes the old clip's place in the queue, or a stream whose clips are always
        # replaced in time would never be answered.
        place = self._waiting[stream][0] if stream in self._waiting else deadline_s
        self.dropped[stream] += stream in self._waiting
        self._waiting[stream] = (place, deadline_s, clip)

    def take(self) -> Job | None:
        """The waiting :class:`Job` with the earliest deadline, or ``None`` if none waits."""
        if not self._waiting:
            return None
        stream = min(self._waiting, key=lambda name: self._waiting[name][0])
        _, deadline_s, clip = self._waiting.pop(stream)
        return Job(stream, self.plan.rows[stream], clip, deadline_s)

    def finish(self, job: Job, ms: float, now_s: float, subnet: Subnet | None = None) -> bool:
        """Learns from an answered clip, and makes a new plan if the machine's speed has changed.

        Args:
            job: what :meth:`take` gave.
            ms: milliseconds the clip took.
            now_s: when it was answered.
            subnet: which sub-network answered, if not the job's.

        Returns:
            Whether there is a new plan.
        """
        self.missed[job.stream] += now_s > job.deadline_s
        self.slowdown.observe(job.row.subnet if subnet is None else subnet, ms)
        factor = self.slowdown.factor or 1.0
        ratio = factor / self.plan.slowdown
        self._faster = self._faster + 1 if ratio * _FASTER < 1 else 0
        # While nothing fits, there is no cheaper plan to change to.
        slower = self.plan.feasible and self.plan.load * ratio > 1
        if not slower and self._faster < PATIENCE:
            return False
        self._faster = 0
        self.plan = plan_rows(self._table, self._streams, factor, self._share, best_effort=True)
        return True
