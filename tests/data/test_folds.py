import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mutualvideo.data.annotations import read_annotations
from mutualvideo.data.prepare.folds import make_folds, split_folds
from mutualvideo.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture
def clips(tmp_path):
    """24 clips of 3 classes, 8 scenes of one clip a class, in two lists."""
    folder = tmp_path / "clips"
    folder.mkdir()
    names = [
        (f"scene {scene}/class{label}.mp4", label, scene)
        for scene in range(8)
        for label in range(3)
    ]
    for split, part in (("train", names[:15]), ("val", names[15:])):
        (folder / f"{split}.csv").write_text("".join(f"{n} {label}\n" for n, label, _ in part))
    with open(folder / "meta.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("path", "scene", "half"), *((n, s, s % 2) for n, _, s in names)])
    (folder / "classes.txt").write_text("a\nb\nc\n")
    return folder


def _lists(clips):
    return [clips / "train.csv", clips / "val.csv"]


def _read(folder):
    return [
        [read_annotations(folder / f"fold{k}" / f"{split}.csv") for split in ("train", "val")]
        for k in range(len(list(folder.iterdir())))
    ]


@pytest.mark.parametrize("folds", [2, 4, 8])
@pytest.mark.parametrize("seed", [0, 7])
def test_nothing_leaks_and_everything_is_tested_once(clips, tmp_path, folds, seed):
    make_folds(_lists(clips), folds, tmp_path / "out", ["scene"], seed=seed)
    found = _read(tmp_path / "out")
    assert len(found) == folds
    tested = Counter(video.path for _, val in found for video in val)
    assert len(tested) == 24 and set(tested.values()) == {1}
    for train, val in found:
        assert len(train) + len(val) == 24
        scenes = [{Path(video.path).parent.name for video in part} for part in (train, val)]
        assert not scenes[0] & scenes[1]
        assert len(scenes[1]) == 8 // folds
        # Every scene has one clip of a class.
        assert set(Counter(video.label for video in val).values()) == {8 // folds}
        for video in (*train, *val):
            assert Path(video.path).is_absolute()
            assert video.label == int(video.path[-5])
    assert (tmp_path / "out/fold1/classes.txt").read_text() == "a\nb\nc\n"


def test_paths_may_stay_as_they_are(clips, tmp_path):
    make_folds(_lists(clips), 2, tmp_path / "out", ["scene"], keep=True)
    absolute = tmp_path / "absolute"
    make_folds(_lists(clips), 2, absolute, ["scene"])
    kept = read_annotations(tmp_path / "out/fold0/val.csv", prefix=str(clips))
    assert [v.path for v in kept] == [v.path for v in read_annotations(absolute / "fold0/val.csv")]


def test_the_seed_decides(clips, tmp_path):
    texts = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make_folds(_lists(clips), 4, tmp_path / name, ["scene"], seed=seed)
        texts.append((tmp_path / name / "fold0/val.csv").read_text())
    assert texts[0] == texts[1] != texts[2]


def test_without_groups_classes_are_even(clips, tmp_path):
    make_folds(_lists(clips), 4, tmp_path / "out")
    for _, val in _read(tmp_path / "out"):
        assert Counter(video.label for video in val) == {0: 2, 1: 2, 2: 2}


def test_groups_of_several_columns(clips, tmp_path):
    folds = make_folds(_lists(clips), 2, tmp_path / "out", ["half", "scene"])
    assert [fold.groups for fold in folds] == [4, 4]


def test_errors_name_what_is_wrong(clips, tmp_path):
    lists, out = _lists(clips), tmp_path / "out"
    for arguments, message in (
        ((lists, 1, out), "--folds must be at least 2, not 1"),
        ((lists, 9, out, ["scene"]), "only 8 groups"),
        ((lists, 3, out, ["half"]), "only 2 groups"),
        ((lists, 2, out, ["actor"]), "meta.csv: has no column 'actor'; it has path, scene, half"),
        (([*lists, lists[1]], 2, out), "scene 5/class0.mp4: is in the lists twice"),
        ((lists, 2, out, ["scene"], clips / "none.csv"), "none.csv: no such file"),
    ):
        with pytest.raises(InputError, match=message):
            make_folds(*arguments)
    lines = (clips / "meta.csv").read_text().splitlines()
    (clips / "meta.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(InputError, match="has no row about scene 7/class2.mp4"):
        make_folds(lists, 2, out, ["scene"])
    assert not out.exists()


def test_a_class_that_could_not_be_learned():
    # All clips of class 1 are of one group: where it is tested nothing of it is left.
    with pytest.raises(InputError, match="all videos of class 1 would be in the val list of fold"):
        split_folds([0, 0, 0, 0, 1, 1], ["a", "b", "c", "d", "e", "e"], 2, 0)


def test_a_class_must_have_as_many_videos_as_there_are_folds():
    with pytest.raises(InputError, match="--folds 5: no class has so many videos, class 1 .* 3"):
        split_folds([0, 0, 1, 1, 1], list("abcde"), 5, 0)


def test_the_command(clips, tmp_path):
    command = [sys.executable, ROOT / "tools/make_folds.py", "--csv", *_lists(clips)]
    command += ["--folds", "4", "--group-by", "scene", "--output", tmp_path / "out"]
    call = subprocess.run(command, capture_output=True, text=True)
    assert call.returncode == 0, call.stderr
    assert "fold3: 18 videos to train on, 6 of 2 groups to test" in call.stdout


@pytest.mark.parametrize(
    ("name", "column", "folds", "sizes"),
    [("action_clips", "sequence", 5, {24}), ("action_clips_weizmann64", "person", 3, {24})],
)
def test_real_lists(tmp_path, name, column, folds, sizes):
    folder = DATA / name
    if not folder.exists():
        pytest.skip(f"{folder} is not there")
    make_folds(_lists(folder), folds, tmp_path / "out", [column])
    with open(folder / "meta.csv", newline="") as file:
        groups = {row["path"]: row[column] for row in csv.DictReader(file)}
    count = 0
    for train, val in _read(tmp_path / "out"):
        sides = [
            {groups[str(Path(v.path).relative_to(folder))] for v in part} for part in (train, val)
        ]
        assert not sides[0] & sides[1]
        assert all(Path(video.path).exists() for video in val)
        # Sequences have six clips, but for one of five and one of seven.
        assert min(abs(len(val) - size) for size in sizes) <= 1
        assert {v.label for v in val} == {v.label for v in train}
        count += len(val)
    assert count == len(groups)


def test_videos_with_several_labels_cannot_be_spread(tmp_path):
    (tmp_path / "train.csv").write_text("a.mp4 0\nb.mp4 1,2\n")
    with pytest.raises(InputError, match="b.mp4: has the labels 1,2; .* divided by hand"):
        make_folds([tmp_path / "train.csv"], 2, tmp_path / "out")


def test_folds_of_another_division_are_not_left_beside_these(tmp_path):
    (tmp_path / "all.csv").write_text("".join(f"{n}.mp4 {n % 2}\n" for n in range(20)))
    make_folds([tmp_path / "all.csv"], 5, tmp_path / "out")
    with pytest.raises(InputError, match="fold3: is of another division, into more than 3"):
        make_folds([tmp_path / "all.csv"], 3, tmp_path / "out")
    make_folds([tmp_path / "all.csv"], 5, tmp_path / "out")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_scikit_learn_does_not_take(seed):
    with pytest.raises(InputError, match=f"--seed {seed}: expected 0 to"):
        split_folds([0, 1] * 4, list(range(8)), 2, seed)
