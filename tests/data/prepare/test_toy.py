import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mutualvideo.data.annotations import read_annotations
from mutualvideo.data.prepare import toy, toy_drawing
from mutualvideo.errors import InputError
from mutualvideo.media import VideoReader

TOOL = Path(__file__).resolve().parents[3] / "tools" / "toy_dataset.py"


class _Grid:
    """Stands in for a random generator: one given start, a speed of 0.75 cycles."""

    def __init__(self, phase):
        self.phase = phase

    def random(self, count):
        return np.full(count, self.phase)

    def uniform(self, low, high):
        assert low <= 0.75 <= high
        return 0.75


@pytest.mark.parametrize("label", range(8))
def test_no_instant_tells_the_class(label):
    # 0.75 cycles in 60 frames move 1/80 a frame, so starts on a grid of 80 stay on it: if at
    # every instant the grid is met exactly once, uniform starts give uniform states.
    states = np.stack([toy.main_states(_Grid(k / 80), label) for k in range(80)])
    on_grid = np.rint(states * 80).astype(int) % 80
    np.testing.assert_allclose(np.abs(states * 80 - np.rint(states * 80)), 0, atol=1e-9)
    for frame in range(toy.NUM_FRAMES):
        for phase in range(4):
            assert sorted(on_grid[:, frame, phase]) == list(range(80))


def test_the_class_moves_one_phase_and_changes_nothing_else():
    moved, drawn = [], set()
    for label in range(8):
        rng = np.random.default_rng(3)
        states = toy.main_states(rng, label)
        steps = (np.diff(states, axis=0) + 0.5) % 1 - 0.5
        which = np.flatnonzero(np.abs(steps).max(axis=0) > 1e-9)
        assert len(which) == 1
        direction = np.sign(steps[:, which[0]])
        assert abs(direction.sum()) == len(direction)
        speed = abs(steps[:, which[0]].sum()) * toy.NUM_FRAMES / (toy.NUM_FRAMES - 1)
        assert 0.5 <= speed <= 0.9
        moved.append((int(which[0]), int(direction[0])))
        # What is drawn afterwards (shape, colours, background) is the same for every class.
        drawn.add((*states[0], rng.random()))
    assert len(drawn) == 1
    assert moved == [(0, -1), (0, 1), (1, -1), (1, 1), (2, 1), (2, -1), (3, 1), (3, -1)]


def test_a_growing_angle_turns_clockwise_on_the_screen():
    up = np.array([[0.0, -1.0]])  # y points down
    np.testing.assert_allclose(toy_drawing.turned(up, 0.25), [[1.0, 0.0]], atol=1e-12)


def test_shapes_show_every_rotation():
    for outline in toy_drawing.shapes():
        assert np.hypot(*outline.T).max() == pytest.approx(0.5)
        for turn in np.arange(1, 8) / 8:
            turned = toy_drawing.turned(outline, turn)
            gaps = np.linalg.norm(outline[:, None] - turned[None], axis=-1).min(axis=1)
            assert gaps.max() > 0.05


def _folder_bytes(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_folder(tmp_path):
    assert toy.make_toy_dataset(tmp_path, 10, 8, 0, progress=False, workers=1)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["classes.txt", "toy.json", "train", "train.csv", "val", "val.csv"]
    assert (tmp_path / "classes.txt").read_text().split("\n")[:-1] == list(toy.CLASSES)
    for split, count in (("train", 10), ("val", 8)):
        videos = read_annotations(tmp_path / f"{split}.csv", num_classes=8)
        assert [video.label for video in videos] == [n % 8 for n in range(count)]
        for video in videos:
            with VideoReader(video.path) as reader:
                assert len(reader) == 60 and reader.fps == pytest.approx(30)
                assert reader.read([59]).shape == (1, 128, 128, 3)
    with open(tmp_path / "val.csv", newline="") as lines:
        assert all(not row[0].startswith("/") for row in csv.reader(lines))


def test_the_seed_decides_every_byte(tmp_path):
    toy.make_toy_dataset(tmp_path / "a", 5, 2, 0, workers=1)
    toy.make_toy_dataset(tmp_path / "b", 5, 2, 0, workers=2)
    toy.make_toy_dataset(tmp_path / "c", 5, 2, 1, workers=2)
    a, b, c = (_folder_bytes(tmp_path / name) for name in "abc")
    assert a == b
    videos = [name for name in a if name.endswith(".mp4")]
    assert len({a[name] for name in videos} | {c[name] for name in videos}) == 14


def test_a_complete_folder_is_left_alone(tmp_path):
    assert toy.make_toy_dataset(tmp_path, 2, 1, 0, workers=1)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert not toy.make_toy_dataset(tmp_path, 2, 1, 0, workers=1)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    # A lost video or a run that did not reach its end is made good.
    (tmp_path / "train/00001.mp4").unlink()
    assert toy.make_toy_dataset(tmp_path, 2, 1, 0, workers=1)
    (tmp_path / "toy.json").unlink()
    assert toy.make_toy_dataset(tmp_path, 2, 1, 0, workers=1)
    assert {path for path in before} == set(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="other arguments"):
        toy.make_toy_dataset(tmp_path, 3, 1, 0, workers=1)


def test_bad_arguments(tmp_path):
    for arguments in [(0, 1, 0), (1, 0, 0), (1, 1, -1)]:
        with pytest.raises(InputError, match="at least 1"):
            toy.make_toy_dataset(tmp_path, *arguments)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file"):
        toy.make_toy_dataset(tmp_path / "file" / "sub", 1, 1, 0, workers=1)


def test_the_command(tmp_path):
    def call(*arguments):
        command = [sys.executable, str(TOOL), "--output", str(tmp_path / "toy"), *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    first = call("--train", "2", "--val", "1")
    assert first.returncode == 0 and "wrote 2 + 1 videos" in first.stdout and not first.stderr
    assert json.loads((tmp_path / "toy/toy.json").read_text())["seed"] == 0
    second = call("--train", "2", "--val", "1")
    assert second.returncode == 0 and "nothing to do" in second.stdout
    other = call("--train", "3", "--val", "1")
    assert other.returncode == 2
    assert other.stderr.startswith("error: ") and other.stderr.count("\n") == 1


def test_a_film_goes_from_motion_to_motion():
    labels = [1, 6, 6, 5, 2]
    states = toy.film_states(np.random.default_rng(0), labels, 30)
    assert states.shape == (150, 4) and states.min() >= 0 and states.max() < 1
    steps = (np.diff(states, axis=0) + 0.5) % 1 - 0.5
    for number, (which, direction) in enumerate([(0, 1), (3, 1), (3, 1), (2, -1), (1, -1)]):
        # Including the step into the first frame of each motion: nothing jumps.
        mine = steps[max(0, 30 * number - 1) : 30 * number + 29]
        expected = np.broadcast_to(np.eye(4)[which] * mine[0, which], mine.shape)
        np.testing.assert_allclose(mine, expected, atol=1e-9)
        assert 0.5 <= mine[0, which] * direction * toy.NUM_FRAMES <= 0.9


def test_writing_a_film(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        toy.write_film(tmp_path / name, [0, 7], seconds=0.2, seed=3)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    with VideoReader(tmp_path / "a.mp4") as reader:
        assert len(reader) == 12 and reader.fps == pytest.approx(30)
        assert reader.read([11]).shape == (1, 320, 320, 3)
    for labels, seconds in (([], 1), ([8], 1), ([0], 0)):
        with pytest.raises(InputError, match="film"):
            toy.write_film(tmp_path / "c.mp4", labels, seconds)
    assert not (tmp_path / "c.mp4").exists()


def test_the_film_command(tmp_path):
    def call(*arguments):
        command = [sys.executable, str(TOOL), "--film", str(tmp_path / "f.mp4"), *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    done = call("--motions", "left,grow", "--motion-seconds", "0.1")
    assert done.returncode == 0 and "f.mp4" in done.stdout and not done.stderr
    with VideoReader(tmp_path / "f.mp4") as reader:
        assert len(reader) == 6
    wrong = call("--motions", "left,sideways")
    assert wrong.returncode == 2 and "error: --motions: 'sideways' is none of left" in wrong.stderr


def _small_clips(csv_path):
    """Eight frames of every video at 32 px: float32 (N, 3, 8, 32, 32), labels."""
    clips, labels = [], []
    for video in read_annotations(csv_path):
        with VideoReader(video.path) as reader:
            clips.append(reader.read(np.linspace(0, 59, 8).astype(int), short_side=32))
        labels.append(video.label)
    clips = torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3)
    return clips.float() / 255 - 0.45, torch.tensor(labels)


def _accuracy(train, val, single_frame, epochs=16):
    """Train a plain 3D network, on whole clips or on random single frames of them."""

    def block(inputs, outputs):
        convolution = nn.Conv3d(inputs, outputs, 3, (1, 2, 2), 1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm3d(outputs), nn.ReLU())

    torch.manual_seed(0)
    net = nn.Sequential(
        block(3, 16),
        block(16, 32),
        block(32, 64),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(64, 8),
    )
    clips, labels = train
    batch_size = 32
    optimizer = torch.optim.SGD(net.parameters(), 0.1, 0.9, weight_decay=1e-3, nesterov=True)
    steps = epochs * (len(clips) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(len(clips))[: len(clips) // batch_size * batch_size]
        for rows in order.split(batch_size):
            # The plane is a torus and colours mean nothing: both may be shuffled.
            batch = torch.roll(clips[rows], torch.randint(32, (2,)).tolist(), (3, 4))
            batch = batch[:, torch.randperm(3)]
            if single_frame:
                frame = int(torch.randint(8, (1,)))
                batch = batch[:, :, frame : frame + 1]
            loss = nn.functional.cross_entropy(net(batch), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    net.eval()
    clips, labels = val
    with torch.no_grad():
        answers = net(clips[:, :, 3:4] if single_frame else clips).argmax(dim=1)
    return float((answers == labels).float().mean())


@pytest.mark.slow
def test_a_clip_tells_the_class_and_a_frame_does_not(tmp_path):
    toy.make_toy_dataset(tmp_path, 240, 80, 0)
    train, val = (_small_clips(tmp_path / f"{split}.csv") for split in ("train", "val"))
    from_frames, from_clips = (_accuracy(train, val, single) for single in (True, False))
    print(f"top-1 of 8 classes: one frame {from_frames:.3f}, clip {from_clips:.3f}")
    assert from_frames < 0.25
    assert from_clips > 0.5


@pytest.mark.parametrize("name", ["kicking", "film.mp4"])
def test_a_folder_of_something_else_is_left_alone(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=f"holds {name}, which is not of a toy data set"):
        toy.make_toy_dataset(tmp_path, 1, 1, 0)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_film_of_a_negative_seed(tmp_path):
    with pytest.raises(InputError, match="--seed must be 0 or more, not -1"):
        toy.write_film(tmp_path / "a.mp4", [0], seed=-1)
