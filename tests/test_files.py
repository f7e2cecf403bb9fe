"""Files that are whole or not there, whenever a signal comes."""

import sys

import pytest

from mutualvideo import files


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
