"""Names that modules had in version 0.1."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from mutualvideo.moved_modules import MOVED, new_name


@pytest.mark.parametrize("old", [old for old in MOVED if "torchcodec" not in old])
def test_the_old_name_gives_the_module(old):
    with pytest.warns(DeprecationWarning, match=f"mutualvideo.{old} is mutualvideo.{MOVED[old]}"):
        sys.modules.pop(f"mutualvideo.{old}", None)
        found = import_module(f"mutualvideo.{old}")
    assert found is import_module(f"mutualvideo.{MOVED[old]}")
    assert found.__name__ == found.__spec__.name == f"mutualvideo.{MOVED[old]}"


ROOT = Path(__file__).resolve().parents[1]
# What scripts of that version imported, in the forms that they did.
SCRIPT = """
from mutualvideo.data.decode import DecodeError, open_video
from mutualvideo.data.decode.with_pyav import VideoReader
from mutualvideo.data.check import check_video
from mutualvideo.data.frames import FrameReader, PictureReader
from mutualvideo.data import toy
from mutualvideo.engine import distributed
from mutualvideo.engine.evaluate import evaluate
from mutualvideo.table.build import evaluate_grid
from mutualvideo.runtime import Service, Stream, StreamServer, AdaptiveRecognizer
import mutualvideo, mutualvideo.media, mutualvideo.media.with_pyav
assert open_video is mutualvideo.media.open_video
assert VideoReader is mutualvideo.media.with_pyav.VideoReader  # one file, one module
assert Service is mutualvideo.Service
"""


def test_imports_as_scripts_have_them():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_other_names_are_as_they_were():
    assert new_name("mutualvideo.slim.layers") is None
    assert new_name("torch.nn") is None
    with pytest.raises(ModuleNotFoundError, match="mutualvideo.data.nothing"):
        import_module("mutualvideo.data.nothing")
    assert not hasattr(import_module("mutualvideo.runtime"), "nothing")
