"""A sub-network's name: how wide, how many frames, how large."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mutualvideo.errors import InputError, shown

# Longer ones would take the pattern, which tries every way to split the digits, minutes.
_LONGEST = 60
_PATTERN = re.compile(r"(?P<width>\d*\.?\d+)(?:x(?P<frames>\d+))?x(?P<size>\d+)")


@dataclass(frozen=True, order=True)
class Subnet:
    """One configuration of a slimmable network.

    Args:
        width: width multiplier, a fraction of every slimmable layer's channels.
        frames: frames of the clip; ``None`` for images.
        size: height and width of the input in pixels.

    For SlowFast, ``frames`` and ``size`` are the Slow pathway's: the clip that goes in
    keeps its full length and size.

    Prints and parses as ``0.75x8x160`` (video) or ``0.75x160`` (images), and is
    hashable, so it is the key of every table.

    Raises:
        InputError: if a value is not positive.
    """

    width: float
    frames: int | None
    size: int

    def __post_init__(self) -> None:
        # 0.1 + 0.2 and 0.3 must be one key, and the text form must round-trip.
        object.__setattr__(self, "width", round(float(self.width), 4))
        if self.width <= 0:
            raise InputError(f"sub-network {self}: the width multiplier must be above 0")
        if self.size < 1 or (self.frames is not None and self.frames < 1):
            raise InputError(f"sub-network {self}: frames and size must be at least 1")

    def __str__(self) -> str:
        parts = [f"{self.width:g}", self.frames, self.size]
        return "x".join(str(part) for part in parts if part is not None)

    def within(self, clip: Subnet) -> Subnet:
        """The same with no more frames, and no larger, than ``clip`` has and is."""
        frames = self.frames
        if frames is not None and clip.frames is not None:
            frames = min(frames, clip.frames)
        return Subnet(self.width, frames, min(self.size, clip.size))

    @classmethod
    def of(cls, given: object) -> Subnet:
        """``given``, or the sub-network that a text names: what takes one takes both.

        Raises:
            InputError: if it is neither.
        """
        return given if isinstance(given, cls) else cls.parse(given)

    @classmethod
    def parse(cls, text: object) -> Subnet:
        """Reads ``0.75x8x160`` or ``0.75x160``.

        Raises:
            InputError: if ``text`` has another form.
        """
        text = str(text).strip() if isinstance(text, (str, cls)) else text
        match = None
        if isinstance(text, str) and len(text) <= _LONGEST:
            match = _PATTERN.fullmatch(text)
        if match is None:
            raise InputError(
                f"sub-network {shown(text)}: expected WIDTHxFRAMESxSIZE such as 0.75x8x160, "
                "or WIDTHxSIZE such as 0.75x160 for images"
            )
        frames = match["frames"]
        return cls(float(match["width"]), int(frames) if frames else None, int(match["size"]))
