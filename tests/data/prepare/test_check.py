import csv
import os

import pytest

from mutualvideo.data.annotations import read_annotations
from mutualvideo.data.prepare import check
from mutualvideo.errors import InputError
from mutualvideo.media import DecodeError, VideoReader
from tests.data.videos import encode, encode_audio, shared
from tests.media.files import BROKEN, FILES
from tests.media.test_real_files import PARTS


def damaged(path, start=0.5, length=400):
    """An h264 file of 40 frames with a hole at this part of it."""
    data = bytearray(open(encode(path, range(0, 120, 3), options={"g": "10"}), "rb").read())
    at = int(len(data) * start)
    data[at : at + length] = bytes(length)
    open(path, "wb").write(data)
    return str(path)


def fails_somewhere(path):
    """The reference: each frame read alone, and all of them."""
    try:
        with VideoReader(path) as reader:
            for index in range(len(reader)):
                reader.read([index])
            reader.read(range(len(reader)))
    except DecodeError:
        return True
    return False


@pytest.mark.parametrize("name", FILES)
def test_whole_files_are_good(tmp_path, name):
    path = encode(tmp_path / name, **FILES[name])
    assert check.check_video(path) is None
    with VideoReader(path) as reader:
        times = [float(frame.pts * frame.time_base) for frame in check.all_frames(path)]
        assert times == reader.timestamps


def test_bad_exactly_where_some_frame_cannot_be_read(tmp_path):
    found = []
    for number, length in enumerate([4, 12, 60, 60, 400, 8, 60, 30], 1):
        path = damaged(tmp_path / f"{number}.mp4", number / 9, length)
        found.append(fails_somewhere(path))
        assert (check.check_video(path) is not None) == found[-1], number
    assert set(found) == {False, True}


def test_the_reason_is_one_line_without_the_path(tmp_path):
    reason = check.check_video(damaged(tmp_path / "a.mp4"))
    assert reason.startswith("frame ") and "of 40 does not decode" in reason
    assert check.check_video(str(tmp_path / "b.mp4")).startswith("no such video file")


def test_real_files():
    folder = shared("decoder_clips")
    for path in sorted(folder.iterdir()):
        # Large pictures are left out for their time.
        if path.suffix in (".pt", ".md", ".json") or path.name in PARTS:
            continue
        if path.stat().st_size < 50_000 or path.name in BROKEN:
            reason = check.check_video(str(path))
            assert (reason is not None) == (path.name in BROKEN), path.name
            assert BROKEN.get(path.name, "") in (reason or "")


@pytest.fixture
def folder(tmp_path):
    """A list with blanks around, a path with a space, one listed twice and three bad ones."""
    (tmp_path / "in put").mkdir()
    encode(tmp_path / "in put/a b.mp4", range(0, 30, 3))
    encode(tmp_path / "in put/c.mp4", range(0, 30, 3))
    damaged(tmp_path / "in put/d.mp4")
    encode_audio(tmp_path / "in put/e.mp4")
    lines = ["a b.mp4 0", "", "  c.mp4  1", "d.mp4 2", "a b.mp4 3", "no,ne.mp4 4", "e.mp4 5"]
    (tmp_path / "in put/train.csv").write_text("\ufeff" + "\r\n".join(lines))
    return tmp_path


def test_good_and_bad_lists(folder, monkeypatch):
    listed = folder / "in put/train.csv"
    assert check.check_list(listed, folder / "out", workers=2) == (6, 3)
    assert (folder / "out/good.csv").read_text() == "a b.mp4 0\n  c.mp4  1\na b.mp4 3\n"
    with open(folder / "out/bad.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert [row[:2] for row in rows] == [["d.mp4", "2"], ["no,ne.mp4", "4"], ["e.mp4", "5"]]
    for row, word in zip(rows, ["does not decode", "no such video file", "audio"], strict=True):
        assert word in row[2]
    good = read_annotations(folder / "out/good.csv", prefix=check.list_root(listed))
    assert [(v.path, v.label, v.name) for v in good] == [
        (v.path, v.label, v.name) for v in read_annotations(listed) if v.label in (0, 1, 3)
    ]
    monkeypatch.chdir(folder / "in put")
    good = read_annotations(folder / "out/good.csv", prefix=check.list_root("train.csv"))
    assert all(os.path.exists(video.path) for video in good)


def test_a_folder_of_classes(folder, tmp_path):
    videos = tmp_path / "videos"
    for name in ("jump", "wave"):
        (videos / name).mkdir(parents=True)
        encode(videos / name / "good.mp4", range(0, 30, 3))
    (videos / "wave/bad.mp4").write_text("not a video")
    (videos / "wave/notes.txt").write_text("no video")
    assert check.check_folder(videos, tmp_path / "out", workers=1) == (3, 1)
    (line,) = (tmp_path / "out/bad.csv").read_text().splitlines()
    assert line.startswith("wave/bad.mp4,wave,cannot be opened as a video")
    with pytest.raises(InputError, match="must lie outside --csv"):
        check.check_folder(videos, videos / "out")


def test_nothing_is_written_before_something_is_known(folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    before = {name: f"of before, {name}" for name in ("good.csv", "bad.csv", "list.csv")}
    for name, text in before.items():
        (out / name).write_text(text)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "run_jobs", interrupted)
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.csv").write_text("a.mp4 0\n")
    with pytest.raises(InputError, match="holds no video"):
        check.check_folder(tmp_path / "empty", out)
    with pytest.raises(KeyboardInterrupt):
        check.check_list(tmp_path / "list.csv", out)
    assert {path.name: path.read_text() for path in out.iterdir()} == before


def test_several_labels_stay_as_they_are(folder):
    listed = folder / "in put/some.csv"
    listed.write_text("c.mp4 1,7\nd.mp4 2,5\n")
    assert check.check_list(listed, folder / "out") == (2, 1)
    assert (folder / "out/good.csv").read_text() == "c.mp4 1,7\n"
    with open(folder / "out/bad.csv", newline="") as file:
        assert [row[:2] for row in csv.reader(file)] == [["d.mp4", "2,5"]]


def test_each_path_is_decoded_once(folder, monkeypatch):
    seen = []

    def here(function, jobs, *args, **kwargs):
        for job in jobs:
            seen.append(job)
            yield job, None

    monkeypatch.setattr(check, "run_jobs", here)
    assert check.check_list(folder / "in put/train.csv", folder / "out") == (6, 0)
    assert len(seen) == len(set(seen)) == 5


def test_a_list_is_never_overwritten(folder):
    listed = (folder / "in put/train.csv").rename(folder / "in put/good.csv")
    with pytest.raises(InputError, match="is the list itself"):
        check.check_list(listed, folder / "in put")
    (folder / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        check.check_list(listed, folder / "file")
