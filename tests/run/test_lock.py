import errno
import os
import subprocess
import sys
from pathlib import Path

import portalocker
import pytest

from mutualvideo.errors import InputError
from mutualvideo.run.lock import LOCK_NAME, exclusive

HOLD = """
import sys
from mutualvideo.run.lock import exclusive
with exclusive(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds ``tmp_path / "run"``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_two_runs_in_one_folder(holder, tmp_path):
    with pytest.raises(InputError, match=f"another run is writing here .process {holder.pid} on "):
        with exclusive(tmp_path / "run", patience_s=0.1):
            pass
    with exclusive(tmp_path / "other", patience_s=0.1):
        pass


def test_a_killed_run_leaves_no_lock(holder, tmp_path):
    holder.kill()
    with exclusive(tmp_path / "run"):
        assert str(os.getpid()) in (tmp_path / "run" / LOCK_NAME).read_text()


def test_a_lock_file_that_was_left_behind_locks_nothing(tmp_path):
    (tmp_path / LOCK_NAME).write_text("process 1 on a machine that is no more\n")
    with exclusive(tmp_path, patience_s=0):
        pass
    with exclusive(tmp_path, patience_s=0):
        pass


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="OUTPUT_DIR .*file/run: cannot be written to .Not a dir"):
        with exclusive(tmp_path / "file" / "run"):
            pass


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog):
    def acquire(lock):
        raise portalocker.LockException(OSError(errno.ENOLCK, "No locks available"))

    monkeypatch.setattr(portalocker.Lock, "acquire", acquire)
    with exclusive(tmp_path):
        (tmp_path / "written").touch()
    assert "its file system cannot lock" in caplog.text
