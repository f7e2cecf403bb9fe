"""A camera for a long time under budgets at random: nothing piles up, nothing is lost uncounted."""

import gc
import random

import numpy as np
import pytest
import torch

from mutualvideo.budget import Budget
from mutualvideo.play.continual_player import play_frames
from mutualvideo.policy.budget_script import BudgetScript
from mutualvideo.runtime import AdaptiveRecognizer
from tests.runtime.test_continual_recognizer import run_with_rows  # noqa: F401

# Of the camera; those that came while the network was busy are dropped.
COUNT, FPS = 240, 30


class Camera:
    """Live, on a clock of its own: frames come, and some were missed meanwhile.

    Attributes:
        alive: (number, bytes) of all live tensors, at about every thirtieth frame.
        last_s: when the last frame came that was taken.
    """

    name, path, live, fps, duration_s, count = "camera", None, True, FPS, None, None

    def __init__(self, count):
        self.dropped, self._count, self.alive, self.last_s = 0, count, [], 0.0

    def frames(self, seen, stop):
        random.seed(0)
        number, rng = 0, np.random.default_rng(0)
        while number < self._count:
            frame = rng.integers(0, 256, (48, 64, 3), np.uint8)
            seen(number / FPS, frame)
            self.last_s = number / FPS
            yield self.last_s, frame
            late = random.choice([0] * 9 + [5])
            self.dropped += min(late, self._count - number - 1)
            number += late + 1
            if number // 30 != (number - late - 1) // 30:
                self.alive.append(live_tensors())


def live_tensors():
    gc.collect()
    found = [one for one in gc.get_objects() if type(one) is torch.Tensor]
    return len(found), sum(one.numel() * one.element_size() for one in found)


@pytest.mark.slow
@pytest.mark.parametrize("filling", ["beside", "at once"])
def test_a_long_stream(run_with_rows, tmp_path, filling):  # noqa: F811
    recognizer = AdaptiveRecognizer(*run_with_rows, mode="continual", filling=filling)
    costs = [row.cost("macs_per_s") for row in recognizer.frames.rows]
    random.seed(1)
    # Changes come before, and long after, the state of the row before is full.
    times = [0.0, *sorted(random.uniform(0, COUNT / FPS) for _ in range(12))]
    script = BudgetScript(
        [(time_s, Budget("macs_per_s", random.choice(costs))) for time_s in times]
    )
    camera = Camera(COUNT)
    played = play_frames(recognizer, camera, script, tmp_path)
    answered = sum(part.clips for part in played.parts)
    instants = 1 + int(camera.last_s / recognizer.frames.frame_s + 1e-6)
    # Each instant was answered, or counted as missed beside the camera's own losses.
    assert answered + (played.dropped - camera.dropped) == instants
    assert played.frames + camera.dropped == COUNT
    assert len({part.budget for part in played.parts}) == 3
    # Two states at most at any time. A tensor left behind at each frame would be half as many
    # again, the state of each switch twice as many; which two rows have them makes a tenth.
    early, late = camera.alive[: len(camera.alive) // 3], camera.alive[len(camera.alive) // 3 :]
    for which in (0, 1):
        assert max(one[which] for one in late) <= 1.25 * max(one[which] for one in early)
