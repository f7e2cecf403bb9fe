"""A network for clips that takes a stream one frame at a time and computes each frame once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mutualvideo.continual.disassembly import take_apart
from mutualvideo.continual.frame_parts import ENDLESS, State, Step
from mutualvideo.errors import InputError
from mutualvideo.slim import set_subnet
from mutualvideo.slim.meta_copy import meta_twin
from mutualvideo.slim.state import SlimState
from mutualvideo.subnet import Subnet

# The numbers in a state, int64 (B,), beside the frames' features.
COUNTERS = ("count", "end", "warming")


class ContinualNetwork:
    """The continual form of a network that lies in memory, whose parameters it shares.

    ::

        model = ContinualNetwork(network)
        state = model.start(batch=2)
        for frame in stream:
            logits, state = model.step(frame, state)

    A state is a ``dict`` of tensors, the batch first in each: features (B, C, H, W) of the frames
    that temporal convolutions and shortcuts still need, means (B, window, C) that pooling over
    time still needs, and three counters (B,). It can be sliced, concatenated, saved and restored.
    A step changes none of its tensors; it makes a new dict, in which most of them are the same.

    *What it equals.* The reference is the plain network over all frames since :meth:`start`, with
    its own zero padding at both ends: fed a whole clip and then the end (:meth:`ended`), it gives
    the clip's logits. While a stream runs there is no end: the answer lags :attr:`delay` frames,
    and pools over the last ``window`` frames. One thing differs from the plain network:
    squeeze-excitation takes the mean of the window up to each frame, where a clip takes that of
    the whole clip, frames to come included; no stream has that. CoX3D (arXiv 2106.00050) does so,
    too, and reports that weights trained on clips carry over.

    Args:
        network: X3D or Slow in eval mode; slimmable, or cut out by
            :func:`~mutualvideo.slim.extract`. A slimmable one runs as what it is switched to,
            with that sub-network's BatchNorm statistics.
        window: how many frames pooling over time covers; ``None``: the frames of the sub-network
            that it is switched to.
        size: height and width in pixels; ``None``: that sub-network's.
        traced: for a graph that is recorded once and run for all steps: every step is the same.
        subnet: what to switch a slimmable network to before every use; so several forms of one
            network can take turns. ``None``: it runs as what it is switched to.
        execute: runs a step in place of torch, ``(frame, state) -> (logits, the features, means
            and counters of the next state)``; of a network that was cut out.

    Attributes:
        delay: how many frames the answer lags behind the newest frame.

    Raises:
        InputError: if the network has no continual form.
    """

    def __init__(
        self,
        network: nn.Module,
        window: int | None = None,
        size: int | None = None,
        traced: bool = False,
        subnet: Subnet | None = None,
        execute: Callable[[Tensor, Mapping[str, Tensor]], tuple[Tensor, State]] | None = None,
    ) -> None:
        self.network, self._subnet, self._execute = network, subnet, execute
        self._window, self._size, self._traced = window, size, traced
        self._parts = take_apart(network)
        self.delay = self._parts.delay
        self._shapes: dict[tuple[float | None, int, int], dict[str, torch.Size]] = {}

    @property
    def window(self) -> int:
        """How many frames pooling over time covers.

        Raises:
            InputError: if neither it nor a sub-network was given.
        """
        return self._of_subnet(self._window, "frames", "window")

    @property
    def size(self) -> int:
        """Height and width of a frame in pixels; errors as those of :attr:`window`."""
        return self._of_subnet(self._size, "size", "size")

    @property
    def receptive_field(self) -> int:
        """Frames that a convolution's output at the end of the network depends on."""
        return self._parts.before + 1

    @property
    def memory(self) -> int:
        """Frames that an answer depends on, pooling over windows included.

        After so many frames of it alone nothing is left of what was before.
        """
        return self.receptive_field + self._parts.windows * (self.window - 1)

    @property
    def fills_after(self) -> int:
        """After how many frames from :meth:`start` the last window is full."""
        return self.delay + self.window

    def start(self, batch: int = 1) -> State:
        """The state of streams that have seen no frame, for what the network is switched to.

        Args:
            batch: how many streams.
        """
        state = {
            "count": torch.zeros(batch, dtype=torch.int64),
            "end": torch.full((batch,), ENDLESS),
            "warming": torch.full((batch,), self.fills_after),
        }
        like = next(self.network.parameters())
        for key, shape in self.shapes().items():
            zeros = like.new_zeros(batch, *shape)
            state[key] = _channels_last(zeros.detach())
        return state

    def shapes(self) -> dict[str, torch.Size]:
        """``{key: shape}`` of what is kept of one stream, counters and the batch left out."""
        slim = self._switched()
        key = (slim.width if slim else None), self.window, self.size
        if key not in self._shapes:
            frame = next(self.network.parameters()).new_zeros(1, 3, self.size, self.size)
            with torch.no_grad():
                _, kept = self._run(frame, {})
            self._shapes[key] = {name: tensor.shape[1:] for name, tensor in kept.items()}
        return self._shapes[key]

    def step(self, frame: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, State]:
        """Takes in the next frame of each stream.

        Args:
            frame: float (B, 3, size, size), normalised as clips are.
            state: from :meth:`start`, or from the step before.

        Returns:
            ``(logits (B, classes), the next state)``. Where ``warming`` of the next state is not
            0, so many frames are missing until the answer is what it is said to be.

        Raises:
            InputError: if frame and state do not fit each other or the network.
        """
        if self.network.training:
            raise InputError("continual: the network is in training mode; call eval()")
        self._check(frame, state)
        logits, after = (self._execute or self._run)(frame, state)
        after["count"], after["end"] = state["count"] + 1, state["end"]
        after["warming"] = (state["warming"] - 1).clamp(min=0)
        return logits, after

    def ended(self, state: Mapping[str, Tensor]) -> State:
        """The state of streams that have no more frames.

        After :attr:`delay` more steps, whatever frames they are given, the answer is that of all
        frames, padded at the end.
        """
        return {**state, "end": state["count"]}

    def clip(self, clip: Tensor) -> Tensor:
        """Logits (B, classes) of whole clips (B, 3, T, size, size), frame by frame."""
        state = self.start(len(clip))
        for frame in clip.unbind(2):
            logits, state = self.step(frame, state)
        state = self.ended(state)
        for _ in range(self.delay):
            logits, state = self.step(frame, state)
        return logits

    def fit(self, state: Mapping[str, Tensor]) -> State:
        """The state of a wider sub-network, for the narrower one that the network is switched to.

        It takes the first channels of what was kept, which the wider one computed: its answers
        are its own again after :attr:`memory` frames, which ``warming`` counts.

        Raises:
            InputError: if a wider sub-network, another size or a longer window is wanted: that
                needs frames.
        """
        shapes = self.shapes()
        if shapes.keys() != state.keys() - set(COUNTERS):
            raise InputError("continual: the state is another network's")
        found = {key: state[key] for key in COUNTERS}
        found["warming"] = torch.full_like(state["warming"], self.memory)
        for key, shape in shapes.items():
            kept = state[key]
            if kept.dim() == 3 and kept.shape[1] >= shape[0] and kept.shape[2] >= shape[1]:
                found[key] = kept[:, kept.shape[1] - shape[0] :, : shape[1]].contiguous()
            elif kept.dim() == 4 and kept.shape[1] >= shape[0] and kept.shape[2:] == shape[1:]:
                found[key] = _channels_last(kept[:, : shape[0]])
            else:
                raise InputError(
                    f"continual: a state of {tuple(kept.shape[1:])} at {key} cannot be cut to "
                    f"{tuple(shape)}: only narrower sub-networks of the same size can take it "
                    "over; start anew and fill it with frames"
                )
        return found

    def macs(self) -> int:
        """Multiply-adds of a step with one stream (convolutions and linear layers)."""
        window, size = self.window, self.size
        twin = ContinualNetwork(meta_twin(self.network), window, size, True, self._subnet)
        frame = torch.empty(1, 3, self.size, self.size, device="meta")
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            twin._run(frame, {})
        return counter.get_total_flops() // 2

    def nbytes(self) -> int:
        """Bytes of the state of one stream."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.start().values())

    def _run(self, frame: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, State]:
        step = Step(state, self.window, self._traced)
        logits = self._parts(_channels_last(frame), step)
        return logits, step.after

    def _check(self, frame: Tensor, state: Mapping[str, Tensor]) -> None:
        if self._traced:
            return
        size = self.size
        if tuple(frame.shape[1:]) != (3, size, size):
            raise InputError(
                f"continual: expected a frame (B, 3, {size}, {size}), got {tuple(frame.shape)}"
            )
        shapes = self.shapes()
        if state.keys() != shapes.keys() | set(COUNTERS):
            raise InputError("continual: the state is another network's")
        for key, shape in shapes.items():
            if state[key].shape != (len(frame), *shape):
                raise InputError(
                    f"continual: the state's {key} is {tuple(state[key].shape)}, expected "
                    f"{(len(frame), *shape)}: it is of another batch, or another sub-network"
                )

    def _switched(self) -> SlimState | None:
        """Switches the network where that is wanted; what its layers read, if it is slimmable."""
        slim: SlimState | None = getattr(self.network, "slim_state", None)
        if slim is not None and self._subnet is not None and slim.subnet != self._subnet:
            # Not in every call: layers keep what they cut out until the next switch.
            set_subnet(self.network, self._subnet)
        return slim

    def _of_subnet(self, given: int | None, field: str, what: str) -> int:
        slim = self._switched()
        if given is None and slim is not None and slim.subnet is not None:
            given = getattr(slim.subnet, field)
        if given is None:
            raise InputError(f"continual: give {what}, or switch the network to a sub-network")
        return given


def _channels_last(tensor: Tensor) -> Tensor:
    if tensor.dim() != 4:
        return tensor
    return tensor.contiguous(memory_format=torch.channels_last)
