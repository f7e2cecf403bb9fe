"""What a network is made of, for one frame at a time.

A part takes one frame's features (B, C, H, W), float, and gives those of a frame that may lie some
frames back: it *lags*. A temporal convolution needs the frames after its own as well, so it
answers for the frame in the middle of those it has; a shortcut waits as long as the branch beside
it. The parts hold the network's own layers and read their parameters in every step, so a switch
to another sub-network needs nothing from them.

Everything runs on pictures rather than on clips of one frame: on a CPU torch takes a third of the
time for a depthwise convolution of three pictures, added up, compared with the same convolution
in three dimensions.

Reference: Continual 3D convolutional networks (arXiv 2106.00050).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mutualvideo.slim.batch_norm_layers import BatchNormTwin
from mutualvideo.slim.layers import LinearTwin
from mutualvideo.slim.twin_base import Twin

State = dict[str, Tensor]
# Ends no stream: the number of its last frame is not known yet. OpenVINO's CPU computes whole
# numbers in 32 bits; of 30 frames a second, so many are two years.
ENDLESS = 2**31 - 1


class Step:
    """What one step reads of the state, and what it leaves to the next.

    Args:
        before: the state. Empty: a step that is only to show the shapes of one.
        window: how many frames pooling over time covers.
        always_masked: whether frames before the first are silenced without looking whether there
            are any, as in a graph that is traced once for all steps.
    """

    def __init__(self, before: Mapping[str, Tensor], window: int, always_masked: bool) -> None:
        self._before, self._window, self._always = before, window, always_masked
        self.after: State = {}
        none = torch.zeros(1, dtype=torch.int64)
        self._count, self._end = before.get("count", none), before.get("end", none + ENDLESS)
        if not always_masked:
            counts = self._count.tolist()
            self._low, self._high = min(counts), max(counts)
            self._first_end = min(self._end.tolist())

    def kept(self, key: str, like: Tensor) -> Tensor:
        """The tensor that was kept as ``key``; at first zeros shaped as ``like``."""
        return self._before[key] if key in self._before else torch.zeros_like(like)

    def silenced(self, x: Tensor, lag: int) -> Tensor:
        """``x``, or zeros for a stream that has no such frame: before its first, after its last.

        This is the zero padding in time of a clip.
        """
        if not self._always and lag <= self._low and self._high - lag < self._first_end:
            return x
        number = self._count - lag
        real = (number >= 0) & (number < self._end)
        return x * real.to(x.device, x.dtype).view(-1, *[1] * (x.dim() - 1))

    def mean(self, key: str, x: Tensor, lag: int) -> Tensor:
        """Mean of ``x`` (B, C) over the last frames, ``window`` of them or as many as there are."""
        new = self.silenced(x, lag).unsqueeze(1)
        if key in self._before:
            kept = torch.cat([self._before[key][:, 1:], new], 1)
        else:
            kept = torch.cat([new.new_zeros(len(x), self._window - 1, x.shape[1]), new], 1)
        self.after[key] = kept
        if not self._always and kept.shape[1] + lag <= self._low + 1:
            return kept.mean(1)
        held = (self._count - lag + 1).clamp(1, kept.shape[1])
        return kept.sum(1) / held.to(x.device, x.dtype).unsqueeze(1)


class Part:
    """One piece of the network.

    Attributes:
        delay: frames that its output lags behind its input.
        before: how many frames before the newest its answer depends on, without windows.
        windows: how many means over a window follow each other in it.
    """

    delay = 0
    before = 0
    windows = 0

    def __call__(self, x: Tensor, step: Step) -> Tensor:
        raise NotImplementedError


class Plain(Part):
    """A module that looks at each value, or each channel of a picture, by itself."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __call__(self, x: Tensor, step: Step) -> Tensor:
        return self._module(x)


class Norm(Part):
    """BatchNorm on its sub-network's own statistics."""

    def __init__(self, norm: Any) -> None:
        self._norm, self._slim = norm, isinstance(norm, BatchNormTwin)

    def __call__(self, x: Tensor, step: Step) -> Tensor:
        norm = self._norm
        if self._slim:
            mean, var, weight, bias, training, momentum = norm.normalization(x)
            return F.batch_norm(x, mean, var, weight, bias, training, momentum, norm.eps)
        of = norm.running_mean, norm.running_var, norm.weight, norm.bias
        return F.batch_norm(x, *of, False, 0.0, norm.eps)


class Classifier(Part):
    """A linear layer over channels."""

    def __init__(self, linear: Any) -> None:
        self._linear = linear

    def __call__(self, x: Tensor, step: Step) -> Tensor:
        linear, rows = self._linear, x.flatten(1)
        if isinstance(linear, LinearTwin):
            return F.linear(rows, *linear.in_use(rows.shape[1]))
        return F.linear(rows, linear.weight, linear.bias)


class MaxPool(Part):
    """A pool over height and width."""

    def __init__(self, pool: nn.MaxPool3d) -> None:
        sides = (pool.kernel_size, pool.stride, pool.padding)
        pairs = [(side, side) if isinstance(side, int) else side[1:] for side in sides]
        self._kernel, self._stride, self._padding = pairs

    def __call__(self, x: Tensor, step: Step) -> Tensor:
        return F.max_pool2d(x, self._kernel, self._stride, self._padding)


class Convolution(Part):
    """A convolution of frames: one convolution of pictures for each frame of its kernel.

    Args:
        name: of the layer, by which its frames are kept.
        conv: ``nn.Conv3d``, or its slimmable twin, that keeps the number of frames.
        lag: of its input.
    """

    def __init__(self, name: str, conv: Any, lag: int) -> None:
        self._conv, self._lag = conv, lag
        self.before = conv.kernel_size[0] - 1
        self.delay = self.before // 2
        self._keys = [f"{name}.{n}" for n in range(self.before)]
        self._kept: tuple[Tensor, int | None, Sequence[Tensor]] | None = None

    def __call__(self, x: Tensor, step: Step) -> Tensor:
        conv: Any = self._conv
        if isinstance(conv, Twin):
            weight, bias, groups = conv.in_use(x.shape[1])
        else:
            weight, bias, groups = conv.weight, conv.bias, conv.groups
        how = conv.stride[1:], conv.padding[1:], conv.dilation[1:], groups
        taps = self._taps(weight)
        if not self._keys:
            return F.conv2d(x, taps[0], bias, *how)
        x = step.silenced(x, self._lag)
        frames = [*(step.kept(key, x) for key in self._keys), x]
        step.after.update(zip(self._keys, frames[1:], strict=True))
        y = F.conv2d(frames[0], taps[0], bias, *how)
        for frame, tap in zip(frames[1:], taps[1:], strict=True):
            y = y + F.conv2d(frame, tap, None, *how)
        return y

    def _taps(self, weight: Tensor) -> Sequence[Tensor]:
        """The kernel of each frame, dense in memory; kept as long as ``weight`` is the same."""
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or weight.is_meta:
            return weight.unbind(2)
        version = None if weight.is_inference() else weight._version
        if self._kept is None or self._kept[0] is not weight or self._kept[1] != version:
            last = torch.channels_last
            taps = [tap.contiguous(memory_format=last) for tap in weight.unbind(2)]
            self._kept = weight, version, taps
        return self._kept[2]


class Pool(Part):
    """The mean over height, width and the window: (B, C, H, W) to (B, C, 1, 1)."""

    windows = 1

    def __init__(self, name: str, lag: int) -> None:
        self._key, self._lag = name, lag

    def __call__(self, x: Tensor, step: Step) -> Tensor:
        return step.mean(self._key, x.mean((2, 3)), self._lag)[:, :, None, None]


class Excitation(Part):
    """Squeeze-excitation whose mean is that of the window up to each frame.

    In a clip it is the mean of the whole clip, so that every frame's features depend on the
    clip's last frame. No stream can have that without computing all frames again.
    """

    windows = 1

    def __init__(self, pool: Pool, gate: Part) -> None:
        self._pool, self._gate = pool, gate

    def __call__(self, x: Tensor, step: Step) -> Tensor:
        return x * self._gate(self._pool(x, step), step)


class Chain(Part):
    """Parts one after the other."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self.delay = sum(part.delay for part in parts)
        self.before = sum(part.before for part in parts)
        self.windows = sum(part.windows for part in parts)

    def __call__(self, x: Tensor, step: Step) -> Tensor:
        for part in self._parts:
            x = part(x, step)
        return x


class Residual(Part):
    """A branch and a shortcut beside it, which waits for the branch.

    Args:
        name: by which the frames that wait are kept.
        branch, shortcut: the shortcut looks at one frame at a time.
        fuse: adds them.
    """

    def __init__(self, name: str, branch: Part, shortcut: Part, fuse: Any) -> None:
        self._branch, self._shortcut, self._fuse = branch, shortcut, fuse
        self.delay, self.before, self.windows = branch.delay, branch.before, branch.windows
        self._keys = [f"{name}.{n}" for n in range(self.delay)]

    def __call__(self, x: Tensor, step: Step) -> Tensor:
        y = self._branch(x, step)
        x = self._shortcut(x, step)
        if self._keys:
            frames = [*(step.kept(key, x) for key in self._keys), x]
            step.after.update(zip(self._keys, frames[1:], strict=True))
            x = frames[0]
        return self._fuse(x, y)
