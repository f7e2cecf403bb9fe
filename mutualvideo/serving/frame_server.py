"""Many streams in continual form through one network, a state for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mutualvideo.budget import Budget
from mutualvideo.continual.frame_parts import State
from mutualvideo.continual.frame_stream import takes
from mutualvideo.errors import InputError
from mutualvideo.policy.frame_plan import plan_frame_rows
from mutualvideo.policy.slowdown import Slowdown
from mutualvideo.runtime.continual_recognizer import ContinualRecognizer, FramePrediction
from mutualvideo.runtime.recognizer import AdaptiveRecognizer
from mutualvideo.serving.awaited import Awaited
from mutualvideo.slim import resample_clip
from mutualvideo.subnet import Subnet
from mutualvideo.table.continual_table import ContinualRow

# The speed that rows are planned for follows the observed one when they are this far apart.
_BAND = 1.15


@dataclass(frozen=True, kw_only=True)
class StreamAnswer(FramePrediction):
    """A ``FramePrediction`` for a frame of one stream among others.

    ``latency_ms`` is that of all frames that were answered together, ``total_ms`` counts from
    ``submit``.

    Args:
        late: whether it came after the next frame was due, ``frame_s`` after this one.
        batch: how many frames were answered together.
        time_s: of the frame in its stream, as ``submit`` was told it.
    """

    late: bool
    batch: int
    time_s: float | None = None


class _Waiting(NamedTuple):
    """A frame: when it came, its pixels (3, S, S), and what time it has in its stream."""

    came_s: float
    pixels: Tensor
    time_s: float | None


@dataclass
class _Seat:
    """What is kept of one stream.

    Args:
        row: the one that answers.
        filling: the one that will, as soon as its state is full; ``None``: none.
        states: ``{sub-network: state}`` of both.
        seen: frames so far.
        waiting: the frame not taken up yet.
        logits: (classes,) of the last frame that was computed.
        dropped, missed: frames that a newer one replaced, and frames answered late.
    """

    row: ContinualRow
    filling: ContinualRow | None = None
    states: dict[Subnet, State] = field(default_factory=dict)
    seen: int = 0
    waiting: _Waiting | None = None
    logits: Tensor | None = None
    dropped: int = 0
    missed: int = 0

    def keep(self, row: ContinualRow) -> None:
        """Has ``row`` answer, from the state that there is of it; forgets the other one."""
        self.row, self.filling = row, None
        self.states = {key: kept for key, kept in self.states.items() if key == row.subnet}


class FrameServer(Awaited):
    """Recognises many streams frame by frame, those on the same row in one batch.

    **One budget for all of them**, of multiply-adds or of a core's time a second. Each stream gets
    a row of its own, so that the weighted sum of accuracies is large (see
    :func:`~mutualvideo.policy.frame_plan.plan_frame_rows`). Under a budget of time the rows follow
    the machine's present speed: the table's latencies times the slowdown observed; while not even
    the cheapest rows fit, all streams run on the cheapest. A stream that gets a narrower row of
    the same frames and size hands its state over; any other row is fed beside the present one
    until its state is full.

    Any number of threads submit frames, switch and set budgets; one answers. Each stream's answers
    are those that it would get alone. All rows are prepared before the first frame.

    Args:
        recognizer: an ``AdaptiveRecognizer`` with ``mode="continual"``, whose rows in continual
            form have latencies.
        streams: their names, or ``{name: weight}``: how much each one's accuracy counts.
        budget: what all of them together may cost a second, ``"2G/s"`` or ``"0.9core"``; leave
            some of a core for decoding and cropping.
        clock: seconds; for tests.

    Raises:
        InputError: if the rows have no latencies, names come twice or there is none, or not even
            the cheapest rows fit the budget.
    """

    def __init__(
        self,
        recognizer: AdaptiveRecognizer,
        streams: Iterable[str] | Mapping[str, float],
        budget: Budget | str = "0.9core",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        names = list(streams)
        if not names or len(set(names)) < len(names):
            raise InputError("streams: expected at least one name, none twice")
        if recognizer.frames is None:
            raise InputError('give the recogniser mode="continual"')
        self._frames: ContinualRecognizer = recognizer.frames
        self._names, self._full = recognizer.class_names, recognizer.cfg.DATA.NUM_FRAMES
        if any(row.latency_ms is None for row in self._frames.rows):
            raise InputError("continual rows: latencies are missing; make them with TABLE.LATENCY")
        given = streams if isinstance(streams, Mapping) else dict.fromkeys(names, 1.0)
        self._weights, self._budget = dict(given), Budget.of(budget)
        self._clock, self._lock = clock, threading.Lock()
        self._slowdown, self._planned = Slowdown(self._frames.rows), 1.0
        # Switches that were asked for since the last answer.
        self._wanted: dict[str, ContinualRow] = {}
        self._seats = {name: _Seat(row) for name, row in self._plan().items()}
        self._frames.prepare()

    @property
    def rows(self) -> dict[str, ContinualRow]:
        """``{name: the row that answers}``."""
        return {name: seat.row for name, seat in self._seats.items()}

    @property
    def dropped(self) -> dict[str, int]:
        """``{name: frames that a newer one replaced before they were taken up}``."""
        return {name: seat.dropped for name, seat in self._seats.items()}

    @property
    def missed(self) -> dict[str, int]:
        """``{name: frames answered after their deadline}``."""
        return {name: seat.missed for name, seat in self._seats.items()}

    def submit(self, stream: str, frame: Any, time_s: float | None = None) -> None:
        """Has a frame answered; the stream's next one is expected ``frame_s`` later.

        Args:
            stream: its name.
            frame: as ``AdaptiveRecognizer.predict`` takes it in continual form.
            time_s: comes back with the answer.

        Raises:
            InputError: if there is no such stream, or for another dtype or shape.
        """
        self._require(stream)
        came_s, pixels = self._clock(), torch.from_numpy(self._frames.pixels(frame))
        with self._lock:
            seat = self._seats[stream]
            seat.dropped += seat.waiting is not None
            seat.waiting = _Waiting(came_s, pixels, time_s)
        self.wake()

    def set_budget(
        self, budget: Budget | str, *, best_effort: bool = False
    ) -> dict[str, ContinualRow]:
        """Shares another budget out, from the next answer on.

        Args:
            budget: what all streams together may cost a second, ``"2G/s"`` or ``"0.9core"``.
            best_effort: takes the cheapest rows where not even they fit.

        Returns:
            ``{name: row}``: which row each stream is switched to.

        Raises:
            InputError: if at the present speed not even the cheapest rows fit and
                ``best_effort`` is not set; nothing changes.
        """
        with self._lock:
            rows = plan_frame_rows(
                self._frames.rows, self._weights, budget, self._planned, best_effort
            )
            self._budget, self._wanted = Budget.of(budget), rows
        return dict(rows)

    def switch(self, subnet: Subnet, stream: str | None = None) -> None:
        """Switches one stream, or all, to a row, from the next answer on.

        It holds until a budget is set or, under one of time, the machine's speed changes.

        Raises:
            InputError: if the row is not in the continual table, or there is no such stream.
        """
        row = self._frames.rows[subnet]
        if stream is not None:
            self._require(stream)
        with self._lock:
            self._wanted |= dict.fromkeys(self._seats if stream is None else [stream], row)

    @torch.inference_mode()
    def answer(self) -> dict[str, StreamAnswer]:
        """Answers all frames that wait; ``{stream: answer}``, empty if none does."""
        self.look()
        with self._lock:
            taken = {
                name: seat.waiting for name, seat in self._seats.items() if seat.waiting is not None
            }
            for name in taken:
                self._seats[name].waiting = None
            wanted, self._wanted = self._wanted, {}
        for name, row in wanted.items():
            self._turn(self._seats[name], row)
        if not taken:
            return {}
        begin_s = self._clock()
        macs = dict.fromkeys(taken, 0)
        fresh = self._advance_all({n: self._seats[n].row for n in taken}, taken, macs, True)
        filling = {n: row for n in taken if (row := self._seats[n].filling) is not None}
        beside = self._advance_all(filling, taken, macs, False)
        for name, row in filling.items():
            seat = self._seats[name]
            if name in beside and not self._left(seat):
                seat.keep(row)
                fresh[name] = beside[name]
        end_s = self._clock()
        found = {}
        for name, (came_s, _, time_s) in taken.items():
            seat = self._seats[name]
            seat.logits = fresh.get(name, seat.logits)
            seat.seen += 1
            late = end_s - came_s > self._frames.frame_s
            seat.missed += late
            assert seat.logits is not None  # every row takes a stream's first frame
            scores = self._frames.scores(seat.logits[None])
            found[name] = StreamAnswer(
                scores=scores,
                labels=(self._names[scores[0].argmax()],),
                subnet=seat.row.subnet,
                macs=macs[name],
                latency_ms=(end_s - begin_s) * 1000,
                total_ms=(end_s - came_s) * 1000,
                class_names=self._names,
                warming_up=int(seat.states[seat.row.subnet]["warming"]),
                filling=self._left(seat),
                fresh=name in fresh,
                delay=seat.row.delay,
                late=late,
                batch=len(taken),
                time_s=time_s,
            )
        self._follow_speed()
        return found

    def save(self) -> dict[str, Any]:
        """All streams' states, of the rows that answer: for ``torch.save`` and :meth:`restore`."""
        kept = {
            name: {
                "subnet": str(seat.row.subnet),
                "seen": seat.seen,
                "logits": seat.logits.clone(),
                # Of its own: a slice of the batch would be saved as the whole batch.
                "state": {key: one.clone() for key, one in seat.states[seat.row.subnet].items()},
            }
            for name, seat in self._seats.items()
            if seat.logits is not None
        }
        return {"streams": kept}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Goes on where :meth:`save` was called, with the rows of then.

        Raises:
            InputError: if it has a stream that there is none of here, or a row that is not in the
                continual table; nothing changes.
        """
        streams = saved.get("streams") if isinstance(saved, Mapping) else None
        wanted = {"subnet", "seen", "logits", "state"}
        if not isinstance(streams, Mapping) or not all(
            isinstance(kept, Mapping) and wanted <= kept.keys() for kept in streams.values()
        ):
            raise InputError("saved streams: this is nothing that save() returned")
        unknown = sorted(set(streams) - set(self._seats))
        if unknown:
            raise InputError(f"saved streams {', '.join(unknown)}: not among those served")
        rows = {n: self._frames.rows[Subnet.parse(kept["subnet"])] for n, kept in streams.items()}
        for name, kept in streams.items():
            seat = self._seats[name]
            seat.states = {rows[name].subnet: dict(kept["state"])}
            seat.keep(rows[name])
            seat.seen, seat.logits = kept["seen"], kept["logits"]

    def _require(self, stream: str) -> None:
        if stream not in self._seats:
            raise InputError(f"stream {stream!r}: the streams are {', '.join(self._seats)}")

    def _advance_all(
        self,
        rows: Mapping[str, ContinualRow],
        taken: Mapping[str, _Waiting],
        macs: dict[str, int],
        observed: bool,
    ) -> dict[str, Tensor]:
        """Feeds each stream's frame to its row; ``{stream: logits (classes,)}`` if it takes it.

        Adds to ``macs``. The time that rows take says how fast the machine is, if ``observed``.
        """
        found: dict[str, Tensor] = {}
        for row in dict.fromkeys(rows.values()):
            begin_s = self._clock()
            fresh = self._advance(
                row, {n: taken[n].pixels for n, its in rows.items() if its == row}
            )
            if fresh and observed:
                ms = (self._clock() - begin_s) * 1000
                self._slowdown.observe(row.subnet, ms / len(fresh))
            for name in fresh:
                macs[name] += row.macs
            found |= fresh
        return found

    def _advance(self, row: ContinualRow, pixels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        subnet, form = row.subnet, self._frames.form(row.subnet)
        frames = subnet.frames or self._full
        names = []
        for name in pixels:
            seat = self._seats[name]
            seat.states.setdefault(subnet, form.start())
            if takes(frames, self._full, seat.seen):
                names.append(name)
        if not names:
            return {}
        together = torch.stack([pixels[name] for name in names])
        if together.shape[-1] != form.size:
            together = resample_clip(together.unsqueeze(2), 1, form.size).squeeze(2)
        state = _joined([self._seats[name].states[subnet] for name in names])
        logits, after = form.step(together, state)
        for number, name in enumerate(names):
            seat = self._seats[name]
            seat.states[subnet] = {key: kept[number : number + 1] for key, kept in after.items()}
        return dict(zip(names, logits, strict=True))

    @staticmethod
    def _left(seat: _Seat) -> int:
        return 0 if seat.filling is None else int(seat.states[seat.filling.subnet]["warming"])

    def _turn(self, seat: _Seat, row: ContinualRow) -> None:
        """Switches a stream, see :meth:`~mutualvideo.continual.FrameStream.switch`."""
        if row == seat.filling:
            return
        now = seat.row.subnet
        seat.keep(seat.row)  # of what was being filled nothing is left
        if row == seat.row:
            return
        same = (row.subnet.frames, row.subnet.size) == (now.frames, now.size)
        if same and row.subnet.width < now.width and seat.states:
            seat.states[row.subnet] = self._frames.form(row.subnet).fit(seat.states[now])
            seat.keep(row)
        elif not seat.states:
            seat.keep(row)
        else:
            seat.filling = row

    def _plan(self, best_effort: bool = False) -> dict[str, ContinualRow]:
        return plan_frame_rows(
            self._frames.rows, self._weights, self._budget, self._planned, best_effort
        )

    def _follow_speed(self) -> None:
        """Plans again if the machine's speed has changed."""
        factor = self._slowdown.factor or 1.0
        if self._budget.unit != "core" or 1 / _BAND <= factor / self._planned <= _BAND:
            return
        with self._lock:
            self._planned = factor
            self._wanted = self._plan(best_effort=True) | self._wanted


def _joined(states: Sequence[State]) -> State:
    if len(states) == 1:
        return states[0]
    return {key: torch.cat([state[key] for state in states]) for key in states[0]}
