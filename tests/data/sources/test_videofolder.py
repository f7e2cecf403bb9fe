"""Folders of classes: what is read, how it is divided, what is refused."""

import itertools
import os
import random
from collections import Counter

import pytest

from mutualvideo.data.class_count import settle_classes
from mutualvideo.data.share_split import held_out
from mutualvideo.data.sources import read_videos
from mutualvideo.errors import InputError
from tests.data.videos import encode


@pytest.fixture
def read(cfg):
    cfg.MODEL.NUM_CLASSES = 0

    def read(split, **data):
        for key, value in data.items():
            cfg.DATA[key] = value
        return read_videos("videofolder", cfg, split)

    return read


def names(listing):
    return [video.name for video in listing.videos]


def empty_files(*paths):
    return dict.fromkeys(paths, b"")


def test_clips_of_folders_come_with_their_class(cfg, tmp_path, clips):
    cfg.MODEL.NUM_CLASSES = 2
    for name in ("train/a/1.mp4", "train/b/deep/2.MP4", "val/a/3.mkv", "val/b/4.webm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        codec = "libvpx" if name.endswith("webm") else "libx264"
        encode(tmp_path / name, range(0, 60, 3), codec)
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / "a" / "notes.txt").write_text("none")
    (tmp_path / "train" / "a" / "._1.mp4").write_text("none")
    assert clips("videofolder", "train") == clips("videofolder", "val") == {0: 0, 1: 1}
    assert clips("videofolder", "test") == {0: 0, 1: 1}


def test_classes_are_those_of_the_folders(read, write, cfg):
    write(empty_files("train/b/1.mp4", "train/a/2.mp4", "test/a/3.mp4", "test/b/4.mp4"))
    assert read("train").classes == ["a", "b"]
    assert names(read("train")) == ["train/a/2.mp4", "train/b/1.mp4"]
    # Without val, what test holds is not trained on.
    assert names(read("val")) == names(read("test")) == ["test/a/3.mp4", "test/b/4.mp4"]
    cfg.TRAIN.DATASET = "videofolder"
    assert settle_classes(cfg).MODEL.NUM_CLASSES == 2


def test_without_a_split_a_share_of_every_class_is_held_out(read, write):
    write(empty_files(*(f"a/{n}.mp4" for n in range(50)), *(f"b/{n}.mp4" for n in range(10))))
    train, val = read("train"), read("val")
    assert Counter(video.label for video in val.videos) == {0: 10, 1: 2}
    assert sorted(names(train) + names(val)) == sorted(names(read("train")) + names(read("test")))
    assert not set(names(train)) & set(names(val))
    assert len(train.videos) == 48 and read("val").videos == val.videos
    assert read("val", SPLIT=2).videos != val.videos
    assert Counter(v.label for v in read("val", VAL_SHARE=0.5).videos) == {0: 25, 1: 5}


def test_a_folder_train_alone_is_divided_too(read, write):
    write(empty_files(*(f"train/{name}/{n}.mp4" for name in "ab" for n in range(5))))
    assert len(read("train").videos) == 8 and len(read("val").videos) == 2


def test_a_class_may_be_called_train(read, write):
    write(empty_files(*(f"{name}/{n}.mp4" for name in ("bus", "train", "val") for n in range(5))))
    assert read("train").classes == ["bus", "train", "val"]


@pytest.mark.parametrize("pattern", [r"/(.*)_part", r"\w+_"])
def test_pieces_of_one_recording_stay_together(read, write, pattern, caplog):
    caplog.set_level("INFO")
    write(
        empty_files(
            *(f"{name}/r{name}{r}_part{n}.mp4" for name in "ab" for r in range(10) for n in "123")
        )
    )
    recordings = [
        {name.split("/")[1].split("_")[0] for name in names(read(s, GROUP_PATTERN=pattern))}
        for s in ("train", "val")
    ]
    assert not recordings[0] & recordings[1]
    assert [len(found) for found in recordings] == [16, 4]
    assert caplog.text.count("60 videos of 20 groups") == 1


def test_groups_across_classes_stay_together_and_classes_near_their_share():
    people = [f"p{n}" for n in range(20)]
    videos = [(label, one) for label in range(3) for one in people for _ in range(label + 1)]
    labels, groups = (list(part) for part in zip(*videos, strict=True))
    found = held_out(groups, labels, groups, 0.25, 0, "abc")
    held = {groups[at] for at in found}
    assert found == {at for at, one in enumerate(groups) if one in held}
    assert Counter(labels[at] for at in found) == {0: 5, 1: 10, 2: 15}
    # A person more, and most of the others stay where they were.
    more = held_out([*groups, "new"], [*labels, 0], [*groups, "new"], 0.25, 0, "abc")
    assert len({one for one in held} & {groups[at] for at in more if at < len(groups)}) >= 4


def test_whatever_can_be_divided_is():
    """Against every division there is."""
    draw, dividable = random.Random(0), 0
    for _ in range(400):
        people = [f"p{n}" for n in range(draw.randint(2, 6))]
        videos = [(draw.randrange(3), draw.choice(people)) for _ in range(draw.randint(3, 10))]
        labels, groups = (list(part) for part in zip(*videos, strict=True))
        there = set(labels)

        def is_divided(inside, there=there, videos=videos):
            parts = {label for label, one in videos if one in inside}
            return parts == there == {label for label, one in videos if one not in inside}

        sides = (
            set(some)
            for count in range(1, len(people))
            for some in itertools.combinations(people, count)
        )
        if any(map(is_divided, sides)):
            dividable += 1
            found = held_out(groups, labels, groups, 0.3, 0, "abc")
            assert is_divided({groups[at] for at in found})
        else:
            with pytest.raises(InputError, match="class [abc] (has|cannot be divided)"):
                held_out(groups, labels, groups, 0.3, 0, "abc")
    assert 50 < dividable < 350


@pytest.mark.parametrize(
    "files, data, message",
    [
        ([], {}, "holds no folder of a class; .* holds CLASS/NAME.mp4"),
        (["a.mp4"], {}, "holds no folder of a class"),
        (["a/1.mp4", "a/2.mp4", "b/x.txt"], {}, r"b: the class has no video \(.*\.mp4.*\); add"),
        (["a/1.mp4", "a/2.mp4", "b/1.mp4"], {}, "the class b has one video, b/1.mp4: it cannot"),
        (["a/1.mp4", "val/x/1.mp4"], {}, "has val but no train"),
        (["train/a/1.mp4", "train/b/1.mp4", "val/a/1.mp4"], {}, "val: .*: b is in one alone"),
        (
            ["a/1.mp4", "b/1.mp4", "train/x/1.mp4", "train/y/1.mp4"],
            {},
            "a: holds videos that would not be read, for .*train holds folders of classes",
        ),
        (["a/1.png", "b/1.png"], {}, "a: the class has no video .* but pictures: .*imagefolder"),
        (["a/1.mp4", "a/2.mp4"], {"VAL_SHARE": 1.0}, "DATA.VAL_SHARE must be above 0"),
        (["a/1.mp4", "a/2.mp4"], {"SPLIT": -1}, "DATA.SPLIT must not be negative"),
        (["a/1.mp4", "a/2.mp4"], {"GROUP_PATTERN": "("}, "'\\(' is no regular expression"),
        (["a/1.mp4", "a/x.mp4"], {"GROUP_PATTERN": r"/\d"}, "finds nothing in a/x.mp4"),
        (["a/1.mp4", "a/2.mp4"], {"GROUP_PATTERN": "a"}, "class a has videos of one group alone"),
    ],
)
def test_what_is_refused(read, write, files, data, message):
    write(empty_files(*files))
    with pytest.raises(InputError, match=message):
        read("val", **data)


def test_a_folder_that_is_not_there(read, cfg, tmp_path):
    cfg.DATA.PATH_TO_DATA_DIR = str(tmp_path / "none")
    with pytest.raises(InputError, match=r"none: no folder of videos \(No such file"):
        read("train")


def test_one_class_alone_is_refused_where_the_number_is_to_follow(cfg, write):
    write(empty_files("a/1.mp4", "a/2.mp4"))
    cfg.TRAIN.DATASET, cfg.MODEL.NUM_CLASSES = "videofolder", 0
    with pytest.raises(InputError, match="all of its videos are of one class"):
        settle_classes(cfg)


@pytest.mark.parametrize("name", [b"v\xe9.mp4", b"\xff\xfe.mp4"])
def test_names_that_are_no_text_are_refused(cfg, tmp_path, name):
    """They would end the run at its table, after training."""
    cfg.MODEL.NUM_CLASSES = 2
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(4):
            (tmp_path / label / f"{number}.mp4").touch()
    read_videos("videofolder", cfg, "train")
    with open(os.path.join(os.fsencode(tmp_path), b"a", name), "wb"):
        pass
    with pytest.raises(InputError, match=r"a/.*\\udc.*not in UTF-8: rename") as caught:
        for split in ("train", "val"):
            read_videos("videofolder", cfg, split)
    str(caught.value).encode()
