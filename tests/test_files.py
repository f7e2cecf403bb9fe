"""Files that are whole or not there, whenever a signal comes."""

import errno
import sys

import pytest

from mutualvideo import files
from mutualvideo.errors import InputError


def interrupt_at(number):
    """Raises KeyboardInterrupt, as the handler of a signal would, at a line of files or pathlib."""
    left = number

    def trace(frame, event, _):
        nonlocal left
        if frame.f_code.co_filename.rpartition("/")[2] not in ("files.py", "pathlib.py"):
            return None
        if event == "line":
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)


@pytest.mark.parametrize("content", [None, "old"])
def test_an_interrupt_while_the_file_is_made_leaves_nothing(tmp_path, content):
    path = tmp_path / "file.txt"
    if content is not None:
        path.write_text(content)
    before, interrupted, entered = sys.gettrace(), 0, False
    while not entered:
        try:
            interrupt_at(interrupted)
            with files.atomic_path(path):
                sys.settrace(before)
                entered = True
        except KeyboardInterrupt:
            interrupted += 1
            entered = False
        finally:
            sys.settrace(before)
        if not entered:
            assert [p.name for p in tmp_path.iterdir()] == ["file.txt"] * (content is not None)
            assert content is None or path.read_text() == content
    assert interrupted > 10


def test_an_interrupt_of_the_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), files.atomic_path(path) as temporary:
        temporary.write_text("new")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"] and path.read_text() == "old"


def test_a_file_that_can_neither_be_made_nor_removed(tmp_path, monkeypatch):
    """As on a file system that is mounted for reading: it says that it cannot be written."""

    def refuse(self, *args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(files.Path, "touch", refuse)
    monkeypatch.setattr(files.Path, "unlink", refuse)
    with pytest.raises(InputError, match=r"a.csv: cannot be written \(Read-only file system\)"):
        with files.atomic_path(tmp_path / "a.csv"):
            raise AssertionError("not reached")
