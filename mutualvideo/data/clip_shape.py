"""How large and long the clips of a batch are, where that changes from batch to batch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClipShape:
    """Clips of a training batch.

    Args:
        frames: of a clip.
        size: side of the square that is cut out, in pixels.
        sampling_rate: the largest distance between two frames, in frames at DATA.TARGET_FPS; each
            clip draws its own, a whole number from DATA.SAMPLING_RATE to this.
    """

    frames: int
    size: int
    sampling_rate: int
