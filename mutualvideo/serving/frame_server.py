"""Many streams in continual form through one network, a state for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mutualvideo.budget import Budget
from mutualvideo.continual.frame_parts import State
from mutualvideo.continual.frame_stream import takes
from mutualvideo.errors import InputError
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

    ``latency_ms`` is that of the batch the frame was in, ``total_ms`` counts from ``submit``.

    Args:
        late: whether it came after the next frame was due, ``frame_s`` after this one.
        batch: how many frames were computed together.
    """

    late: bool
    batch: int


@dataclass
class _Seat:
    """What is kept of one stream.

    Args:
        states: ``{sub-network: state}``: of the one that answers, and of the one that fills.
        seen: frames so far.
        waiting: (when it came, pixels (3, S, S)) of the frame not taken up yet.
        logits: (classes,) of the last frame that was computed.
        dropped, missed: frames that a newer one replaced, and frames answered late.
    """

    states: dict[Subnet, State] = field(default_factory=dict)
    seen: int = 0
    waiting: tuple[float, Tensor] | None = None
    logits: Tensor | None = None
    dropped: int = 0
    missed: int = 0


class FrameServer(Awaited):
    """Recognises many streams frame by frame, those that wait in one batch.

    All run on one row: the best one with which a frame of every stream takes at most ``share`` of
    the time from one frame to the next, at the machine's present speed (the table's latencies
    times the slowdown observed), or else the cheapest. When the speed changes another row may be
    switched to: a narrower one of the same frames and size takes the states over, any other is fed
    beside the present one until the states of all streams are full.

    Any number of threads submit frames; one answers and switches. Each stream's answers are those
    that it would get alone. All rows are prepared before the first frame.

    Args:
        recognizer: an ``AdaptiveRecognizer`` with ``mode="continual"``, whose rows in continual
            form have latencies.
        streams: their names.
        share: how much of the time is planned; the rest is for decoding and cropping.
        clock: seconds; for tests.

    Raises:
        InputError: if the rows have no latencies, or names come twice or there is none.
    """

    def __init__(
        self,
        recognizer: AdaptiveRecognizer,
        streams: Iterable[str],
        share: float = 0.9,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        names = list(streams)
        if not names or len(set(names)) < len(names):
            raise InputError("streams: expected at least one name, none twice")
        if not 0 < share <= 1:
            raise InputError(f"share {share}: must be above 0 and at most 1")
        if recognizer.frames is None:
            raise InputError('give the recogniser mode="continual"')
        self._frames: ContinualRecognizer = recognizer.frames
        self._names, self._full = recognizer.class_names, recognizer.cfg.DATA.NUM_FRAMES
        if any(row.latency_ms is None for row in self._frames.rows):
            raise InputError("continual rows: latencies are missing; make them with TABLE.LATENCY")
        self._share, self._clock = share, clock
        self._seats = {name: _Seat() for name in names}
        self._lock = threading.Lock()
        self._slowdown, self._planned = Slowdown(self._frames.rows), 1.0
        self._row = self._plan()
        self._next: ContinualRow | None = None
        self._frames.prepare()

    @property
    def row(self) -> ContinualRow:
        """The one that answers."""
        return self._row

    @property
    def dropped(self) -> dict[str, int]:
        """``{name: frames that a newer one replaced before they were taken up}``."""
        return {name: seat.dropped for name, seat in self._seats.items()}

    @property
    def missed(self) -> dict[str, int]:
        """``{name: frames answered after their deadline}``."""
        return {name: seat.missed for name, seat in self._seats.items()}

    def submit(self, stream: str, frame: Any) -> None:
        """Has a frame answered; the stream's next one is expected ``frame_s`` later.

        Args:
            stream: its name.
            frame: as ``AdaptiveRecognizer.predict`` takes it in continual form.

        Raises:
            InputError: if there is no such stream, or for another dtype or shape.
        """
        if stream not in self._seats:
            raise InputError(f"stream {stream!r}: the streams are {', '.join(self._seats)}")
        came_s, pixels = self._clock(), torch.from_numpy(self._frames.pixels(frame))
        with self._lock:
            seat = self._seats[stream]
            seat.dropped += seat.waiting is not None
            seat.waiting = came_s, pixels
        self.wake()

    def switch(self, subnet: Subnet) -> None:
        """Has a row answer as soon as the states of all streams are full.

        Raises:
            InputError: if it is not in the continual table.
        """
        self._switch(self._frames.rows[subnet])

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
        if not taken:
            return {}
        begin_s = self._clock()
        pixels = {name: pixels for name, (_, pixels) in taken.items()}
        row, filling = self._row, self._next
        fresh = self._advance(row, pixels)
        own_ms = (self._clock() - begin_s) * 1000
        macs = dict.fromkeys(fresh, row.macs)
        if filling is not None:
            beside = self._advance(filling, pixels)
            for name in beside:
                macs[name] = macs.get(name, 0) + filling.macs
            if self._filled(filling):
                self._take_over(filling)
                fresh = beside
        for name, logits in fresh.items():
            self._seats[name].logits = logits
        end_s = self._clock()
        found = {}
        for name, (came_s, _) in taken.items():
            seat = self._seats[name]
            seat.seen += 1
            late = end_s - came_s > self._frames.frame_s
            seat.missed += late
            assert seat.logits is not None  # every row takes a stream's first frame
            scores = seat.logits.float().softmax(0).numpy()[None]
            found[name] = StreamAnswer(
                scores=scores,
                labels=(self._names[scores[0].argmax()],),
                subnet=self._row.subnet,
                macs=macs.get(name, 0),
                latency_ms=(end_s - begin_s) * 1000,
                total_ms=(end_s - came_s) * 1000,
                class_names=self._names,
                warming_up=int(seat.states[self._row.subnet]["warming"]),
                filling=self._left(seat),
                fresh=name in fresh,
                delay=self._row.delay,
                late=late,
                batch=len(taken),
            )
        if self._row == row and fresh:
            self._observe(own_ms / len(fresh))
        return found

    def save(self) -> dict[str, Any]:
        """All streams' states, of the row that answers: for ``torch.save`` and :meth:`restore`."""
        subnet = self._row.subnet
        kept = {
            name: {
                "seen": seat.seen,
                "logits": seat.logits.clone(),
                # Of its own: a slice of the batch would be saved as the whole batch.
                "state": {key: one.clone() for key, one in seat.states[subnet].items()},
            }
            for name, seat in self._seats.items()
            if seat.logits is not None and subnet in seat.states
        }
        return {"subnet": str(subnet), "streams": kept}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Goes on where :meth:`save` was called, with the row of then.

        Raises:
            InputError: if it has a stream that there is none of here, or its row is not in the
                continual table.
        """
        unknown = sorted(set(saved["streams"]) - set(self._seats))
        if unknown:
            raise InputError(f"saved streams {', '.join(unknown)}: not among those served")
        self._row, self._next = self._frames.rows[Subnet.parse(saved["subnet"])], None
        for name, kept in saved["streams"].items():
            seat = self._seats[name]
            seat.seen, seat.logits = kept["seen"], kept["logits"]
            seat.states = {self._row.subnet: dict(kept["state"])}

    def _advance(self, row: ContinualRow, pixels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Feeds frames to a row; ``{stream: logits (classes,)}`` of those that it takes."""
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

    def _left(self, seat: _Seat) -> int:
        return 0 if self._next is None else int(seat.states[self._next.subnet]["warming"])

    def _switch(self, row: ContinualRow) -> None:
        now, new = self._row.subnet, row.subnet
        if row in (self._row, self._next):
            self._next = row if row == self._next else None
            return
        form = self._frames.form(new)
        self._next = row
        same = (new.frames, new.size) == (now.frames, now.size)
        for seat in self._seats.values():
            # Of what was being filled nothing is left.
            seat.states = {now: seat.states[now]} if now in seat.states else {}
            if same and new.width < now.width and seat.states:
                seat.states[new] = form.fit(seat.states[now])
        if (same and new.width < now.width) or not any(s.states for s in self._seats.values()):
            self._take_over(row)

    def _filled(self, row: ContinualRow) -> bool:
        """Whether the row that fills can answer for all streams that go on."""
        seats = self._seats.values()
        states = [seat.states[row.subnet] for seat in seats if row.subnet in seat.states]
        left = max(int(state["warming"]) for state in states)
        # One whose frames have stopped does not keep the others waiting for ever.
        most = max(int(state["count"]) for state in states)
        return left == 0 or most >= 2 * self._frames.form(row.subnet).fills_after

    def _take_over(self, row: ContinualRow) -> None:
        self._row, self._next = row, None
        for seat in self._seats.values():
            seat.states = {key: kept for key, kept in seat.states.items() if key == row.subnet}

    def _plan(self) -> ContinualRow:
        """The best row that fits at the planned speed, or the cheapest."""
        core = self._share / len(self._seats) / self._planned
        cheapest = min(row.cost("core") or 0.0 for row in self._frames.rows)
        return self._frames.rows.best(Budget("core", max(core, cheapest)))

    def _observe(self, ms: float) -> None:
        """Takes in what a frame took; switches if the machine's speed has changed."""
        self._slowdown.observe(self._row.subnet, ms)
        factor = self._slowdown.factor or 1.0
        if not 1 / _BAND <= factor / self._planned <= _BAND:
            self._planned = factor
            self._switch(self._plan())


def _joined(states: Sequence[State]) -> State:
    if len(states) == 1:
        return states[0]
    return {key: torch.cat([state[key] for state in states]) for key in states[0]}
