import threading

import pytest
from PIL import Image

from mutualvideo.budget import Budget
from mutualvideo.errors import InputError
from mutualvideo.media import VideoReader
from mutualvideo.play.playlist import play_all
from tests.play.fakes import FakeRecognizer, write_numbered

TIMES = [number / 30 for number in range(30)]
BUDGETS = [Budget("macs", 1000), Budget("macs", 100)]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "c.mp4", "c.MKV"):
        write_numbered(folder / name, TIMES, form="matroska" if name == "c.MKV" else None)
    (folder / "b.mp4").write_bytes(b"not a video")
    (folder / "notes.txt").write_text("not one either")
    (folder / "deeper").mkdir()
    return folder


def test_every_video_of_a_folder(folder, tmp_path):
    done = list(play_all(FakeRecognizer(), folder, tmp_path / "out", BUDGETS))
    assert [path.name for path, _ in done] == ["a.mp4", "b.mp4", "c.MKV", "c.mp4"]
    failed = done.pop(1)[1]
    assert isinstance(failed, InputError) and "b.mp4: cannot be opened" in str(failed)
    for _, played in done:
        assert [part.macs for part in played.parts] == [1000, 100]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    # Two that would have the same name keep their endings.
    assert names == ["a.csv", "a.mp4", "c.MKV.csv", "c.MKV.mp4", "c.mp4.csv", "c.mp4.mp4"]
    for name in names[1::2]:
        with VideoReader(tmp_path / "out" / name) as reader:
            assert len(reader) == 30


def test_one_source_with_a_gif(folder, tmp_path):
    ((address, played),) = play_all(
        FakeRecognizer(), str(folder / "a.mp4"), tmp_path / "out", BUDGETS, gif=tmp_path / "a.gif"
    )
    assert address == str(folder / "a.mp4") and played.frames == 30
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 10


def test_a_budget_script_and_equal_parts_of_what_is_played(folder, tmp_path):
    (tmp_path / "budgets.txt").write_text("0 100\n0.5 1000\n")
    fake = FakeRecognizer()
    (_, played), *_ = play_all(
        fake, folder / "a.mp4", tmp_path / "out", script=tmp_path / "budgets.txt"
    )
    assert [part.macs for part in played.parts] == [100, 1000]
    # Half of 0.5 s, not of the whole second.
    (_, played), *_ = play_all(
        fake, folder / "a.mp4", tmp_path / "out", BUDGETS, seconds=0.5, stride_s=0.1
    )
    assert [part.clips for part in played.parts] == [3, 3]


def test_a_recording_played_live(folder, tmp_path):
    ((_, played),) = play_all(
        FakeRecognizer(),
        folder / "a.mp4",
        tmp_path / "out",
        BUDGETS[:1],
        opening={"realtime": True},
        stride_s=0.2,
    )
    assert played.frames + played.dropped == 30 and played.problem is None
    with pytest.raises(InputError, match="live source has no equal parts"):
        list(
            play_all(
                FakeRecognizer(),
                folder / "a.mp4",
                tmp_path / "out",
                BUDGETS,
                opening={"realtime": True},
            )
        )


def test_stopping_ends_one_film_and_begins_no_other(folder, tmp_path):
    stop = threading.Event()
    fake = FakeRecognizer(gate=lambda call: stop.set())
    done = list(play_all(fake, folder, tmp_path / "out", BUDGETS[:1], stop=stop))
    assert [path.name for path, _ in done] == ["a.mp4"]
    assert 0 < done[0][1].frames < 30


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "either budgets or a budget script"),
        ({"budgets": BUDGETS, "script": "budgets.txt"}, "either budgets or a budget script"),
        ({"budgets": [Budget("macs", 1)]}, "below the cheapest"),
        ({"budgets": BUDGETS, "stride_s": -1}, "stride -1"),
        ({"budgets": BUDGETS, "gif": "a.gif"}, "is a folder; a GIF is of one video"),
        ({"budgets": BUDGETS, "address": "deeper"}, "deeper: holds no video"),
        ({"budgets": BUDGETS, "output": "."}, "a.mp4: is the video itself"),
        ({"budgets": BUDGETS, "address": "b.mp4"}, "b.mp4: cannot be opened"),
    ],
)
def test_what_is_wrong_for_all_is_an_error(folder, tmp_path, arguments, named):
    arguments = {"address": ".", "output": "../out", **arguments}
    for key in ("address", "output"):
        arguments[key] = folder / arguments[key]
    with pytest.raises(InputError, match=named):
        list(play_all(FakeRecognizer(), **arguments))
    assert not (tmp_path / "out").exists()
