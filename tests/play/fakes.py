"""Frames that say their number, and a recogniser that remembers what it was shown."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np

from mutualvideo.media.encode import VideoWriter
from mutualvideo.runtime import Prediction
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable, Row

_BITS = 10
TABLE = QueryTable(
    [
        Row(Subnet(0.5, 3, 32), 100, 10, 50.0, 100.0, 2.0),
        Row(Subnet(1, 6, 40), 1000, 20, 90.0, 100.0, 8.0),
    ]
)


def numbered(number, height=48, width=80):
    """uint8 (height, width, 3): the number in ten stripes, black or white, lowest bit first."""
    bits = number >> np.arange(_BITS) & 1
    row = np.repeat(bits, width // _BITS).astype(np.uint8) * 255
    return np.broadcast_to(row[None, :, None], (height, width, 3)).copy()


def number_of(frame):
    """The number of a frame, whatever was done to it but cropping."""
    row = frame.mean(axis=(0, 2))
    middles = ((np.arange(_BITS) + 0.5) * len(row) / _BITS).astype(int)
    return int(((row[middles] > 127) << np.arange(_BITS)).sum())


def write_numbered(path, times, size=(48, 80), codec="libx264", form=None):
    """Encodes numbered frames at times in seconds; returns the path."""
    options = {"threads": "1", "bf": "2"}
    clock = Fraction(1, 9000)
    with VideoWriter(path, 30, clock=clock, codec=codec, options=options, form=form) as writer:
        for number, time_s in enumerate(times):
            writer.write(numbered(number, *size), time_s)
    return path


def data(frames=6, rate=2, target_fps=30, crop=40):
    """What the runtime reads of the DATA section."""
    return SimpleNamespace(
        NUM_FRAMES=frames,
        SAMPLING_RATE=rate,
        TARGET_FPS=target_fps,
        TEST_CROP_SIZE=crop,
        TEST_CROP_SHARE=1.0,
    )


class FakeRecognizer:
    """Answers at once, or when ``gate(number of the call)`` returns.

    Attributes:
        clips: numbers of the frames of every clip, warm-up left out.
        budgets: what ``set_budget`` was given.
    """

    table, class_names = TABLE, ("a", "b", "c")

    def __init__(self, section=None, gate=lambda call: None, scores=None):
        self.cfg = SimpleNamespace(DATA=section or data())
        self.executor = SimpleNamespace(segments=False)
        self.clips, self.budgets, self._gate = [], [], gate
        self._scores = scores or (lambda call: [0.2, 0.7, 0.1])

    def set_budget(self, budget):
        self._row = self.table.best(budget)
        self.budgets.append(budget)
        return self._row

    def predict(self, clip, subnet=None):
        row = self._row if subnet is None else self.table[subnet]
        assert clip.dtype == np.uint8 and len(clip) == self.cfg.DATA.NUM_FRAMES
        if clip.any():
            # Frame 0 is black and so is the warm-up; no clip of a film is all frame 0.
            self.clips.append([number_of(frame) for frame in clip])
            self._gate(len(self.clips) - 1)
        scores = np.array([self._scores(max(len(self.clips) - 1, 0))], np.float32)
        label = self.class_names[scores.argmax()]
        return Prediction(scores, (label,), row.subnet, row.macs, 3.0, 4.0, self.class_names)
