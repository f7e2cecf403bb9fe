"""A disk that is full, or a file that may not grow, at every place where a run writes."""

import errno
import logging
import os
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from mutualvideo.errors import InputError
from mutualvideo.evaluation.confusion import plot_confusion
from mutualvideo.files import atomic_path
from mutualvideo.run.distributed import Context
from mutualvideo.run.environment import write_environment
from mutualvideo.run.lock import exclusive, require_same_folder
from mutualvideo.run.log import Scalars, setup_logging
from mutualvideo.run.resume import Work
from mutualvideo.run.tensor_file import write_tensors
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable, Row

ROOT = Path(__file__).resolve().parents[2]
CPU = Context(torch.device("cpu"))


@pytest.fixture(autouse=True)
def no_log_of_other_tests(tmp_path):
    """Their files may not grow either."""
    setup_logging(tmp_path, False)


@contextmanager
def largest_file(size):
    """No file of this process may have more bytes. (Python ignores the signal of it.)"""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def table():
    rows = [Row(Subnet(1.0, 4, 32), 10**6, 10**4, top1=50.0, top5=90.0)]
    return QueryTable(rows, {"model": "X3D", "macs": "of convolutions", "notes": "x" * 5000})


WRITERS = {
    "tensors": lambda folder: write_tensors({"a": torch.zeros(9000)}, folder / "a.pyth"),
    "unfinished table": lambda folder: Work(folder, "key").save(tally=torch.zeros(9000)),
    "table": lambda folder: table().save_json(folder / "query_table.json"),
    "plot": lambda folder: table().plot(folder / "flops.png"),
    "confusion": lambda folder: plot_confusion(torch.eye(5).long().numpy(), folder / "c.png"),
    "environment": lambda folder: write_environment(folder, CPU),
}


@pytest.mark.parametrize("name", WRITERS)
def test_one_line_and_what_was_there_before(tmp_path, name):
    WRITERS[name](tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with largest_file(100), pytest.raises(InputError, match="cannot be written .File too large"):
        WRITERS[name](tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_what_disks_say(tmp_path, number):
    (tmp_path / "a").write_text("before")
    with pytest.raises(InputError, match="a: cannot be written"):
        with atomic_path(tmp_path / "a"):
            raise OSError(number, os.strerror(number))
    assert (tmp_path / "a").read_text() == "before"


def test_the_log_ends_with_one_line(tmp_path, capsys):
    setup_logging(tmp_path, True)
    try:
        with largest_file(50):
            for number in range(5):
                logging.info("line %d of twenty letters", number)
    finally:
        setup_logging(tmp_path, False)
        logging.getLogger().setLevel(logging.WARNING)
    out, err = capsys.readouterr()
    assert out.count("of twenty letters") == 5
    assert err.count("\n") == 1 and "stdout.log: cannot be written (File too large)" in err


def test_tensorboard_ends_with_one_line(tmp_path, caplog):
    setup_logging(tmp_path, True)
    try:
        with largest_file(200):
            scalars = Scalars(tmp_path, True)
            for step in range(200):
                scalars.add({"loss": 1.0, "top1": 2.0}, step)
            scalars.close()
    finally:
        setup_logging(tmp_path, False)
        logging.getLogger().setLevel(logging.WARNING)
    assert caplog.text.count("TensorBoard's figures end here") <= 1


def test_a_folder_that_is_moved_while_a_run_writes_to_it(tmp_path):
    folder = tmp_path / "run"
    with exclusive(folder):
        require_same_folder(folder)
        folder.rename(tmp_path / "moved")
        with pytest.raises(InputError, match="run: was moved or removed while the run was writing"):
            require_same_folder(folder)
        folder.mkdir()  # a new one of the same name is another one
        with pytest.raises(InputError, match="was moved or removed"):
            require_same_folder(folder)
    require_same_folder(folder)  # not held


RUNNING = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.argv = ["run_net.py", "--cfg", sys.argv[2]]
runpy.run_path("tools/run_net.py", run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1000, 4000, 20_000])
def test_a_whole_run(tiny, tmp_path, limit):
    cfg = tiny(SOLVER__MAX_EPOCH=1, TABLE__LATENCY=False)
    (tmp_path / "a.yaml").write_text(cfg.dump())
    done = subprocess.run(
        [sys.executable, "-c", RUNNING, str(limit), str(tmp_path / "a.yaml")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "cannot be written (File too large)" in errors[0]
    assert "Traceback" not in done.stderr
