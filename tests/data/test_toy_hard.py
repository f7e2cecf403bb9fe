import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from mutualvideo.data.annotations import read_annotations
from mutualvideo.data.prepare import toy, toy_hard
from mutualvideo.errors import InputError
from mutualvideo.media import VideoReader

TOOL = Path(__file__).resolve().parents[2] / "tools" / "toy_dataset.py"
X, Y, ANGLE, LOG_SIZE = range(4)
# By hand: which phases move, from a class's name.
PHASES = {
    "left": (X, -1),
    "right": (X, 1),
    "up": (Y, -1),
    "down": (Y, 1),
    "clockwise": (ANGLE, 1),
    "counter-clockwise": (ANGLE, -1),
    "grow": (LOG_SIZE, 1),
    "shrink": (LOG_SIZE, -1),
}


def _steps(label, seed=3):
    """Movement of every phase from frame to frame: (47, 4); a step is below half a cycle."""
    states = toy_hard.hard_states(np.random.default_rng(seed), label)
    assert states.shape == (48, 4) and states.min() >= 0 and states.max() < 1
    return (np.diff(states, axis=0) + 0.5) % 1 - 0.5


def test_the_classes():
    names = toy_hard.CLASSES
    assert len(names) == len(set(names)) == 20
    assert sum(name.endswith(" slow") for name in names) == 8
    assert sum(name.endswith(" fast") for name in names) == 8
    pairs = [tuple(name.split(" then ")) for name in names if " then " in name]
    assert len(pairs) == 4 and {pair[::-1] for pair in pairs} == set(pairs)


@pytest.mark.parametrize("label", range(20))
def test_the_class_decides_which_phases_move_and_when(label):
    steps, name = _steps(label), toy_hard.CLASSES[label]
    cycles = steps.sum(axis=0)
    if " then " not in name:
        motion, speed = name.split()
        which, sign = PHASES[motion]
        low, high = {"slow": (0.35, 0.5), "fast": (0.9, 1.35)}[speed]
        assert low - 1e-9 <= sign * cycles[which] <= high + 1e-9
        np.testing.assert_allclose(steps[:, which], steps[0, which])
        assert not np.delete(steps, which, axis=1).any()
        return
    (first, first_sign), (second, second_sign) = (PHASES[part] for part in name.split(" then "))
    assert not np.delete(steps, (first, second), axis=1).any()
    assert 0.4 - 1e-9 <= first_sign * cycles[first] <= 0.65 + 1e-9
    assert 0.4 - 1e-9 <= second_sign * cycles[second] <= 0.65 + 1e-9
    # One after the other: no frame but the one of the change moves both.
    (one,), (other,) = (np.nonzero(abs(steps[:, w]) > 1e-12) for w in (first, second))
    assert one[0] == 0 and other[-1] == 46 and 0 <= other[0] - one[-1] <= 1
    assert 0.4 * 48 - 1 <= other[0] <= 0.6 * 48


def test_nothing_else_depends_on_the_class():
    drawn = set()
    for label in range(20):
        rng = np.random.default_rng(5)
        states = toy_hard.hard_states(rng, label)
        drawn.add((*states[0], rng.random()))
    assert len(drawn) == 1


def test_both_orders_of_a_pair_begin_and_end_alike():
    # Whoever sees the first and the last frame alone cannot tell them apart: over many videos
    # the distances are the same.
    ends = {}
    for label, name in enumerate(toy_hard.CLASSES):
        if " then " in name:
            far = [_steps(label, seed).sum(axis=0) for seed in range(400)]
            ends[name] = np.mean(far, axis=0)
    for name, mean in ends.items():
        other = ends[" then ".join(name.split(" then ")[::-1])]
        np.testing.assert_allclose(mean, other, atol=0.02)


def test_no_instant_tells_the_class():
    # A uniform phase that is shifted stays uniform; shifts do not depend on where it starts.
    for label in range(20):
        starts = [np.random.default_rng(seed) for seed in range(2)]
        one, other = (toy_hard.hard_states(rng, label) for rng in starts)
        assert not np.allclose(one[0], other[0])
    rng = np.random.default_rng(0)
    firsts = np.array([toy_hard.hard_states(rng, 0)[0] for _ in range(2000)])
    np.testing.assert_allclose(firsts.mean(axis=0), 0.5, atol=0.03)
    np.testing.assert_allclose(firsts.var(axis=0), 1 / 12, atol=0.01)


def test_the_folder(tmp_path):
    assert toy.make_toy_dataset(tmp_path, 21, 2, 0, progress=False, workers=1, level="hard")
    assert (tmp_path / "classes.txt").read_text().split("\n")[:-1] == list(toy_hard.CLASSES)
    videos = read_annotations(tmp_path / "train.csv", num_classes=20)
    assert [video.label for video in videos] == [*range(20), 0]
    for video in videos[:3]:
        with VideoReader(video.path) as reader:
            assert len(reader) == 48 and reader.fps == pytest.approx(30)
            assert reader.read([47]).shape == (1, 64, 64, 3)
    assert json.loads((tmp_path / "toy.json").read_text())["level"] == "hard"
    assert not toy.make_toy_dataset(tmp_path, 21, 2, 0, workers=1, level="hard")
    with pytest.raises(InputError, match="other arguments"):
        toy.make_toy_dataset(tmp_path, 21, 2, 0, workers=1)
    with pytest.raises(InputError, match="level 'harder' is unknown; choose from: easy, hard"):
        toy.make_toy_dataset(tmp_path / "other", 2, 2, 0, workers=1, level="harder")


def test_the_seed_decides_every_byte(tmp_path):
    def written(name, seed, workers):
        toy.make_toy_dataset(tmp_path / name, 3, 1, seed, workers=workers, level="hard")
        return [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.mp4"))]

    one = written("a", 0, 1)
    assert one == written("b", 0, 2)
    assert len({*one, *written("c", 1, 1)}) == 8


def test_what_three_of_four_frames_cost(tmp_path):
    # The decoder may skip frames that no other refers to: fewer than a third are needed.
    toy.write_video(tmp_path / "clip.mp4", (0, 0), 0, "hard")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        container.streams.video[0].codec_context.skip_frame = "NONREF"
        assert sum(1 for _ in container.decode(video=0)) <= 48 // 3


def test_the_command(tmp_path):
    command = [sys.executable, TOOL, "--output", tmp_path / "toy", "--level", "hard"]
    call = subprocess.run(
        [*command, "--train", "2", "--val", "1"], capture_output=True, text=True, check=True
    )
    assert "wrote 2 + 1 videos" in call.stdout and not call.stderr
