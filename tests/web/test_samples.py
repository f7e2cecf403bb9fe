"""What can be chosen from."""

import shutil

import pytest

from mutualvideo.errors import InputError
from mutualvideo.web.samples import samples_in, samples_of_run

CLASSES = ("wave", "point", "push")


def test_videos_of_a_folder(tmp_path):
    for name in ("b.mp4", "a.MKV", "notes.txt", "c.webm.part"):
        (tmp_path / name).touch()
    (tmp_path / "folder.mp4").mkdir()
    assert samples_in(tmp_path) == {"a.MKV": tmp_path / "a.MKV", "b.mp4": tmp_path / "b.mp4"}


def test_folders_without_videos(tmp_path):
    with pytest.raises(InputError, match="holds no video"):
        samples_in(tmp_path)
    with pytest.raises(InputError, match="cannot be listed"):
        samples_in(tmp_path / "nowhere")


@pytest.fixture
def cfg(tiny_cfg, tmp_path):
    cfg = tiny_cfg.clone()
    cfg.DATA.PATH_TO_DATA_DIR = str(tmp_path)
    return cfg


def test_classes_of_the_run_take_turns(cfg, tmp_path, good_path):
    lines = [("a.mp4", 1), ("b.mp4", 1), ("gone.mp4", 0), ("c.mp4", 0), ("sub/a.mp4", 1)]
    (tmp_path / "val.csv").write_text("".join(f"{path} {label}\n" for path, label in lines))
    (tmp_path / "sub").mkdir()
    for path, _ in lines:
        if path != "gone.mp4":
            shutil.copy(good_path, tmp_path / path)
    found = samples_of_run(cfg, CLASSES)
    assert list(found) == ["point – a.mp4", "wave – c.mp4", "point – b.mp4", "point – a.mp4 (2)"]
    assert found["point – a.mp4 (2)"] == tmp_path / "sub" / "a.mp4"


def test_a_run_whose_data_is_gone(cfg, tiny_cfg):
    assert samples_of_run(cfg, CLASSES) == samples_of_run(tiny_cfg, CLASSES) == {}
