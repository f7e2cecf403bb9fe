"""Shards against the resized files that they are packed from, read by webdataset and by us."""

import json
import os
import shutil
import tarfile

import numpy as np
import pytest

from mutualvideo.data.annotations import read_annotations
from mutualvideo.data.prepare import resize_shards
from mutualvideo.data.prepare.check import check_list
from mutualvideo.data.prepare.resize import Settings, resize_tree
from mutualvideo.data.prepare.resize_shards import resize_to_shards
from mutualvideo.errors import InputError
from mutualvideo.media import open_video
from mutualvideo.media.shards import index_path, write_index
from tests.data.prepare.test_check import damaged
from tests.data.videos import encode, encode_audio

SMALL = Settings(short_side=24, gop=5, crf=10)
CLASSES = ("jump", "x y")
SIZE = 12 * 1024


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Ten videos of two classes, in a list by class; one of them in val as well."""
    folder = tmp_path_factory.mktemp("in")
    lines = []
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir()
        for number in range(5):
            video = f"{name}/v.{number}.mkv" if number else f"{name}/v0.avi"
            encode(folder / video, range(0, 3 * (8 + number), 3), options={"bf": "0"})
            lines.append(f"{video} {label}\n")
    encode(folder / "only val.mp4", range(0, 30, 3))
    (folder / "train.csv").write_text("".join(lines))
    (folder / "val.csv").write_text("only val.mp4 1\n" + lines[3])
    return folder


def lists(tree):
    return [tree / "train.csv", tree / "val.csv"]


def tars(folder):
    return sorted(path for path in folder.iterdir() if path.suffix == ".tar")


@pytest.fixture(autouse=True)
def small_tars(monkeypatch):
    """Tars of at most 12 KiB, as if --shard-mb could be a fraction."""
    monkeypatch.setattr(resize_shards, "_MIB", SIZE)


@pytest.fixture
def out(tree, tmp_path):
    done = resize_to_shards(tree, tmp_path / "out", lists(tree), SMALL, 1, workers=2)
    assert (done.written, done.skipped, done.bad) == (11, 0, 0)
    return tmp_path / "out"


@pytest.fixture
def copied(monkeypatch):
    """Videos are copied instead of encoded, which is quick; x264 does not give the same bytes."""

    def run_jobs(function, jobs, *args, **kwargs):
        for job in jobs:
            os.makedirs(os.path.dirname(job[1]), exist_ok=True)
            shutil.copy(job[0], job[1])
            yield job, None

    monkeypatch.setattr(resize_shards, "run_jobs", run_jobs)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_frames_of_members_are_those_of_resized_files_to_the_bit(tree, out, tmp_path):
    names = {path.name for path in tars(out)}
    assert len(names) > 3 and "val-000000.tar" in names and "val-000001.tar" not in names
    assert not (out / ".waiting").exists()
    files = tmp_path / "files"
    for tar in tars(out):
        with tarfile.open(tar) as archive:
            # Before Python 3.11.4 extractall() takes no filter.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(files)
    for name in ("train.csv", "val.csv"):
        labels = {
            os.path.splitext(video.name)[0].replace(".", "_"): video.label
            for video in read_annotations(tree / name)
        }
        ours = read_annotations(out / name)
        keys = [video.name.partition("/")[2].removesuffix(".mp4") for video in ours]
        assert dict(zip(keys, (video.label for video in ours), strict=True)) == labels
    for video in read_annotations(out / "train.csv"):
        name = video.name.partition("/")[2]
        source = next(tree.glob(f"{name[:-6]}?{name[-5]}.*"))
        with open_video(video.path) as one, open_video(source) as before:
            assert one.timestamps == pytest.approx(before.timestamps, abs=1e-6)
        with open_video(video.path) as one, open_video(files / name) as other:
            assert one.timestamps == other.timestamps
            everything = range(len(other))
            np.testing.assert_array_equal(one.read(everything), other.read(everything))


def test_lists_stand_in_the_order_of_the_members_and_classes_are_mixed(tree, out):
    found = []
    for tar in tars(out):
        with tarfile.open(tar) as archive:
            names = archive.getnames()
        # A video and its label are neighbours.
        assert [name.rpartition(".")[2] for name in names] == ["mp4", "cls"] * (len(names) // 2)
        found += [f"{tar.name}/{name}" for name in names if name.endswith(".mp4")]
        assert tar.stat().st_size <= SIZE + tarfile.RECORDSIZE
    train = [video.name for video in read_annotations(out / "train.csv")]
    assert train == [name for name in found if name.startswith("train")]
    # A video of two lists is packed once.
    val = [video.name for video in read_annotations(out / "val.csv")]
    assert len(found) == 11 and sum(name.startswith("train") for name in val) == 1
    classes = [video.label for video in read_annotations(out / "train.csv")]
    assert classes != sorted(classes)


def test_webdataset_reads_them(tree, out):
    wds = pytest.importorskip("webdataset")
    pattern = [str(path) for path in tars(out) if path.name.startswith("train")]
    found = {}
    for sample in wds.WebDataset(pattern, shardshuffle=False).decode():
        found[sample["__key__"]] = sample["cls"], sample["mp4"]
    videos = read_annotations(out / "train.csv")
    assert len(found) == len(videos) == 10
    for video in videos:
        tar, _, name = video.name.partition("/")
        label, data = found[name.removesuffix(".mp4")]
        with tarfile.open(out / tar) as archive:
            assert label == video.label and data == archive.extractfile(name).read()


def test_a_second_run_changes_nothing(tree, out):
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    done = resize_to_shards(tree, out, lists(tree), SMALL, 1, workers=1)
    assert (done.written, done.skipped, done.bad) == (0, 11, 0)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


@pytest.mark.parametrize("packed", [0, 1, 3])
def test_a_run_that_was_ended_goes_on_to_the_same_tars(tree, copied, tmp_path, monkeypatch, packed):
    resize_to_shards(tree, tmp_path / "whole", lists(tree), SMALL, 1)
    wanted, cut = contents(tmp_path / "whole"), tmp_path / "cut"
    assert len(wanted) > 9

    class Killed(Exception):
        pass

    written = []

    def killed(tar):
        if len(written) == packed:
            raise Killed  # after the tar, before its index
        written.append(tar)
        return write_index(tar)

    with monkeypatch.context() as patch:
        patch.setattr(resize_shards, "write_index", killed)
        with pytest.raises(Killed):
            resize_to_shards(tree, cut, lists(tree), SMALL, 1)
    assert len(tars(cut)) == packed + 1 and not (cut / "train.csv").exists()
    (cut / ".train-000009.77.tar").touch()
    resize_to_shards(tree, cut, lists(tree), SMALL, 1)
    assert contents(cut) == wanted


def test_bad_videos_are_left_out_and_tried_again(tmp_path):
    tree, out = tmp_path / "in", tmp_path / "out"
    tree.mkdir()
    for name in "abc":
        encode(tree / f"{name}.mp4", range(0, 30, 3))
    damaged(tree / "bad.mp4")
    encode_audio(tree / "sound.mp4")
    (tree / "t.csv").write_text("a.mp4 0\nbad.mp4 1\nb.mp4 2\nsound.mp4 3\nc.mp4 4\nno.mp4 5\n")
    done = resize_to_shards(tree, out, [tree / "t.csv"], SMALL, workers=2)
    assert (done.written, done.bad) == (3, 3)
    reasons = (out / "bad.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in reasons] == ["bad.mp4", "no.mp4", "sound.mp4"]
    assert sorted(video.label for video in read_annotations(out / "t.csv")) == [0, 2, 4]
    for name in ("bad", "sound", "no"):
        (tree / f"{name}.mp4").unlink(missing_ok=True)
        encode(tree / f"{name}.mp4", range(0, 30, 3))
    done = resize_to_shards(tree, out, [tree / "t.csv"], SMALL, workers=2)
    assert (done.written, done.skipped, done.bad) == (3, 3, 0) and not (out / "bad.csv").exists()
    videos = read_annotations(out / "t.csv")
    assert sorted(video.label for video in videos) == list(range(6)) and len(tars(out)) == 2
    assert check_list(out / "t.csv", tmp_path / "checked", workers=1) == (6, 0)


def test_check_videos_names_the_bad_members(out, tmp_path):
    first, second = tars(out)[:2]
    data = bytearray(first.read_bytes())
    with tarfile.open(first) as archive:
        member = next(one for one in archive if one.name.endswith(".mp4"))
    data[member.offset_data : member.offset_data + member.size] = bytes(member.size)
    first.write_bytes(data)
    os.truncate(second, second.stat().st_size // 2)
    total, bad = check_list(out / "train.csv", tmp_path / "checked", workers=1)
    rows = (tmp_path / "checked/bad.csv").read_text().splitlines()
    held = json.loads(index_path(second).read_text())["members"]
    assert (total, bad) == (10, 1 + len(held) // 2) and len(rows) == bad
    assert f"{first.name}/{member.name}" in rows[0] and "cannot be opened" in rows[0]
    assert all("one of them is truncated" in row for row in rows[1:])


def test_several_labels(tree, tmp_path):
    (tmp_path / "some.csv").write_text(f"{tree}/jump/v0.avi 3,1\n{tree}/x y/v0.avi 2\n")
    resize_to_shards(tree, tmp_path / "out", [tmp_path / "some.csv"], SMALL, workers=1)
    with tarfile.open(tmp_path / "out/some-000000.tar") as archive:
        found = {name: archive.extractfile(name).read() for name in archive.getnames()}
    assert json.loads(found["jump/v0.json"]) == [1, 3] and found["x y/v0.cls"] == b"2"
    texts = sorted((tmp_path / "out/some.csv").read_text().splitlines())
    tar = "some-000000.tar"
    assert texts == [f"{tar}/jump/v0.mp4 1,3", f"{tar}/x y/v0.mp4 2"]


def test_what_cannot_be_packed(tree, tmp_path):
    two, clash, same = (tmp_path / name for name in ("two.csv", "clash.csv", "train.txt"))
    video = tree / "jump/v0.avi"
    two.write_text(f"{video} 0\n{video} 0\n{video} 1\n")
    clash.write_text(f"{tree}/jump/v.1.mkv 0\n{tree}/jump/v_1.mkv 0\n")
    same.write_text(f"{video} 0\n")
    for files, size, words in [
        ([], 1, "--shards needs --csv"),
        ([tree / "train.csv"], 0, "--shard-mb must be at least 1"),
        ([two], 1, "two.csv:3: .*v0.avi has the label 1 here and 0 in line 1"),
        ([clash], 1, "v.1.mkv and jump/v_1.mkv would both become jump/v_1.mp4"),
        ([tree / "train.csv", same], 1, "train.txt: another list is called train too"),
    ]:
        with pytest.raises(InputError, match=words):
            resize_to_shards(tree, tmp_path / "out", files, SMALL, size)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_lists_or_settings_or_of_somebody_else(tree, out, tmp_path):
    before = contents(out)
    for files, settings in ((lists(tree)[:1], SMALL), (lists(tree), Settings(short_side=24))):
        with pytest.raises(InputError, match="resize.json: .* made with other settings"):
            resize_to_shards(tree, out, files, settings, 1)
    with pytest.raises(InputError, match="made with other settings"):
        resize_tree(tree, out, SMALL)
    assert contents(out) == before
    (out / "resize.json").unlink()
    with pytest.raises(InputError, match="train-000000.tar but no resize.json"):
        resize_to_shards(tree, out, lists(tree), SMALL, 1)
