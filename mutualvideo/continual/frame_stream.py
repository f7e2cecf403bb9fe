"""A stream whose sub-network may change between two frames, without a pause in its answers."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from mutualvideo.continual.continual_network import ContinualNetwork
from mutualvideo.continual.frame_parts import State
from mutualvideo.errors import InputError
from mutualvideo.slim import resample_clip
from mutualvideo.subnet import Subnet

# How a sub-network that cannot take the state over comes to one of its own.
FILLING = ("beside", "at once")


@dataclass(frozen=True)
class FrameAnswer:
    """What is known after a frame.

    Args:
        logits: float (B, classes).
        subnet: which sub-network gave them.
        warming_up: after how many more frames of this sub-network's they are its own: until then
            they come from a state that a wider one left it, or from fewer frames than the window
            has. 0: they are.
        macs: multiply-adds that this frame took, filling other states included.
        fresh: whether the frame was computed. A sub-network of fewer frames than the full clip
            leaves some out, as it does in clips; the logits are those of the frame before.
        filling: after how many more frames of its own the sub-network switched to answers; 0:
            it does.
    """

    logits: Tensor
    subnet: Subnet
    warming_up: int
    macs: int
    fresh: bool
    filling: int


def takes(frames: int, full: int, number: int) -> bool:
    """Whether a sub-network of ``frames`` takes frame ``number`` of a stream.

    They are as far apart as in its clips, which have the first and the last of ``full``. A
    sub-network of one frame takes every one.
    """
    if frames in (1, full):
        return True
    part, whole = frames - 1, full - 1
    return number * part // whole > (number - 1) * part // whole


def frames_to_fill(model: ContinualNetwork, full: int) -> int:
    """How many frames of a stream fill the window of ``model``, those left out included."""
    apart = 1 if model.window in (1, full) else (full - 1) / (model.window - 1)
    return math.ceil((model.fills_after - 1) * apart) + 1


class _Running:
    """A sub-network with its state."""

    def __init__(self, subnet: Subnet, model: ContinualNetwork, batch: int) -> None:
        self.subnet, self.model = subnet, model
        self.macs = model.macs()
        self.state: State = model.start(batch)

    @property
    def warming(self) -> int:
        return int(self.state["warming"].max())

    def step(self, frame: Tensor) -> Tensor:
        size = self.model.size
        if frame.shape[-1] != size:
            frame = resample_clip(frame.unsqueeze(2), 1, size).squeeze(2)
        logits, self.state = self.model.step(frame, self.state)
        return logits


class FrameStream:
    """Feeds a stream to the sub-network that is wanted at the time.

    A narrower sub-network of the same frames and size takes over the first channels of the state,
    at no cost, and answers with the next frame (``warming_up``). Any other needs a state of its
    own. ``beside``: it is fed beside the present one, which answers until the new one's window is
    full: ``fills_after`` of its frames cost both. ``at once``: that many frames are kept, and
    computed when it is switched to, so that it answers with the next frame: as much again, but in
    one burst.

    Args:
        continual: gives the continual form of a sub-network.
        full_frames: frames of a full clip (``DATA.NUM_FRAMES``). Frames are expected as far apart
            as in a full clip; a sub-network of fewer takes some of them, evenly.
        subnet: the first one.
        filling: ``beside`` or ``at once``.
        keep: frames that are kept for ``at once``; ``None``: as many as fill the first
            sub-network's window, see :func:`frames_to_fill`. Too few for another show in
            ``warming_up``.
        batch: how many streams are fed and switched together.

    Raises:
        InputError: for another ``filling``, or a network without a continual form.
    """

    def __init__(
        self,
        continual: Callable[[Subnet], ContinualNetwork],
        full_frames: int,
        subnet: Subnet,
        filling: str = "beside",
        keep: int | None = None,
        batch: int = 1,
    ) -> None:
        if filling not in FILLING:
            raise InputError(f"filling {filling!r}: choose {' or '.join(FILLING)}")
        self._continual, self._full, self._batch = continual, full_frames, batch
        self._at_once = filling == "at once"
        self._seen = 0
        self._spent = 0
        self._logits: Tensor | None = None
        self._now = self._run(subnet)
        kept = frames_to_fill(self._now.model, full_frames) if keep is None else keep
        self._kept: deque[Tensor] = deque(maxlen=kept)
        self._next: _Running | None = None

    @property
    def subnet(self) -> Subnet:
        """The one that answers."""
        return self._now.subnet

    @property
    def wanted(self) -> Subnet:
        """The one that was switched to last; it answers as soon as it can."""
        return (self._next or self._now).subnet

    @property
    def state(self) -> State:
        """Of the one that answers; see :class:`~mutualvideo.continual.ContinualNetwork`."""
        return self._now.state

    def switch(self, subnet: Subnet) -> None:
        """Has ``subnet`` answer as soon as it can."""
        if subnet == self.wanted:
            return
        now, self._next = self._now.subnet, None
        if subnet == now:
            return
        new = self._run(subnet)
        same = (subnet.frames, subnet.size) == (now.frames, now.size)
        if same and subnet.width < now.width:
            new.state = new.model.fit(self._now.state)
            self._now = new
        elif self._seen == 0:
            self._now = new
        elif self._at_once:
            first = self._seen - len(self._kept)
            for number, frame in enumerate(self._kept, first):
                if self._takes(new, number):
                    self._logits = new.step(frame)
                    self._spent += new.macs
            self._now = new
        else:
            self._next = new

    def step(self, frame: Tensor) -> FrameAnswer:
        """Takes in the next frame.

        Args:
            frame: float (B, 3, S, S), normalised, of the full clip's size or larger than any
                sub-network's.
        """
        number, self._seen = self._seen, self._seen + 1
        if self._at_once:
            self._kept.append(frame)
        fresh = self._takes(self._now, number)
        if fresh:
            self._logits = self._now.step(frame)
            self._spent += self._now.macs
        if self._next is not None and self._takes(self._next, number):
            logits = self._next.step(frame)
            self._spent += self._next.macs
            if self._next.warming == 0:
                self._now, self._next, self._logits, fresh = self._next, None, logits, True
        assert self._logits is not None  # every sub-network takes the first frame
        spent, self._spent = self._spent, 0
        filling = 0 if self._next is None else self._next.warming
        now = self._now
        return FrameAnswer(self._logits, now.subnet, now.warming, spent, fresh, filling)

    def end(self) -> Tensor:
        """Logits when the stream has ended: of all frames, the last ones with none to follow."""
        assert self._logits is not None
        model, state = self._now.model, self._now.model.ended(self._now.state)
        blank = next(model.network.parameters()).new_zeros(self._batch, 3, model.size, model.size)
        logits = self._logits
        for _ in range(model.delay):
            logits, state = model.step(blank, state)
        return logits

    def _run(self, subnet: Subnet) -> _Running:
        return _Running(subnet, self._continual(subnet), self._batch)

    def _takes(self, running: _Running, number: int) -> bool:
        return takes(running.subnet.frames or self._full, self._full, number)
