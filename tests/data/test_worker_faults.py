"""Workers of the loader that are killed at any moment, and limits of the system that they meet."""

import errno
import gc
import multiprocessing
import multiprocessing.reduction
import os
import random
import resource
import signal
import subprocess
import sys
import threading
from itertools import count
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import torch
from torch.utils.data import dataloader, get_worker_info

from mutualvideo.config import get_cfg
from mutualvideo.data.loader import build_loader
from mutualvideo.data.worker_faults import is_death, limit_of, too_many_deaths
from mutualvideo.errors import InputError
from tests.data.videos import encode

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six videos of ten frames, each twice in the list."""
    folder = tmp_path_factory.mktemp("tiny")
    for number in range(6):
        encode(folder / f"{number}.mp4", range(0, 30, 3), size=(48, 36))
    lines = [f"{number % 6}.mp4 {number % 2}\n" for number in range(12)]
    (folder / "train.csv").write_text("".join(lines))
    return folder


@pytest.fixture
def cfg(folder):
    cfg = get_cfg()
    cfg.DATA.PATH_TO_DATA_DIR, cfg.MODEL.NUM_CLASSES = str(folder), 2
    cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE = 2, 2
    cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE = [32, 34], 32
    cfg.TRAIN.BATCH_SIZE, cfg.DATA_LOADER.NUM_WORKERS = 2, 2
    return cfg


@pytest.fixture
def impatient(monkeypatch):
    """torch looks every 5 s whether workers are alive; 200 times that is too long for a test."""
    look = dataloader._MultiProcessingDataLoaderIter._try_get_data
    monkeypatch.setattr(look, "__defaults__", (0.05,))


class Killer(threading.Thread):
    """Kills a worker now and then, at most ``most`` in an epoch."""

    def __init__(self, seed, most):
        super().__init__(daemon=True)
        self.rng, self.most, self.left, self.kills = random.Random(seed), most, 0, 0
        self.ended = threading.Event()

    def epoch_begins(self):
        self.left = self.most

    def run(self):
        while not self.ended.wait(self.rng.uniform(0, 0.02)):
            children = multiprocessing.active_children()
            if self.left > 0 and children:
                self.left -= 1
                self.kills += 1
                os.kill(self.rng.choice(children).pid, signal.SIGKILL)


def killed(cfg, times, most):
    """Epochs of a loader whose workers are killed ``times`` times, and of one without workers."""
    loader = build_loader(cfg, "train")
    cfg.DATA_LOADER.NUM_WORKERS = 0
    alone = build_loader(cfg, "train")
    killer, epoch = Killer(0, most), 0
    killer.start()
    try:
        while killer.kills < times:
            killer.epoch_begins()
            loader.set_epoch(epoch)
            alone.set_epoch(epoch)
            for batch, wanted in zip(loader, alone, strict=True):
                assert batch.keys() == wanted.keys()
                assert all(torch.equal(batch[key], wanted[key]) for key in wanted)
            epoch += 1
    finally:
        killer.ended.set()
        killer.join()
    return killer.kills


def test_workers_killed_a_few_times(cfg, impatient):
    assert killed(cfg, 6, 2) >= 6


@pytest.mark.slow
def test_workers_killed_at_seventy_random_moments(cfg, impatient):
    """Three a time is what an epoch survives."""
    assert killed(cfg, 70, 3) >= 70


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_worker_killed_while_it_holds_the_lock_that_all_share(cfg, impatient, monkeypatch, batch):
    """The event by which torch ends workers: each asks it at each of its three batches."""
    is_set, calls, first = Event.is_set, count(1), multiprocessing.Value("i", 1)

    def die(self):
        info = get_worker_info()
        if info is not None and info.id == 0 and first.value and next(calls) == batch:
            first.value = 0
            self._cond.acquire()
            os.kill(os.getpid(), signal.SIGKILL)
        return is_set(self)

    monkeypatch.setattr(Event, "is_set", die)
    videos = [row for found in build_loader(cfg, "train") for row in found["video"].tolist()]
    assert not first.value and sorted(videos) == list(range(12))


def test_a_worker_that_is_dying_still_looks_alive(cfg, monkeypatch):
    """Its sockets are closed before anybody can see that it is gone."""
    monkeypatch.setattr("mutualvideo.data.worker_faults._PATIENCE", 0.05)
    loader = build_loader(cfg, "train")
    assert len(list(loader)) == 6
    workers = multiprocessing.active_children()
    loader._loader._iterator._workers_done_event._event._cond.acquire()
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "is_alive", lambda self: True)
    del loader
    gc.collect()
    for worker in workers:
        worker.join()
        assert worker.exitcode == -signal.SIGKILL


def test_a_worker_that_died_unseen_does_not_keep_the_loader_from_ending(cfg):
    loader = build_loader(cfg, "train")
    assert len(list(loader)) == 6
    one, other = multiprocessing.active_children()
    # The lock is held, as it is by a worker that was killed within it.
    loader._loader._iterator._workers_done_event._event._cond.acquire()
    one.kill()
    one.join()
    del loader
    gc.collect()
    other.join()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(104, "Connection reset by peer"),
        ConnectionRefusedError(111, "Connection refused"),
        BrokenPipeError(32, "Broken pipe"),
        EOFError(),
        FileNotFoundError(2, "No such file or directory"),
        RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed."),
        RuntimeError("DataLoader worker (pid(s) 1, 2) exited unexpectedly"),
        RuntimeError("Pin memory thread exited unexpectedly"),
    ],
)
def test_what_is_a_death(error):
    assert is_death(error) and limit_of(error) is None


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), KeyError("x"), ValueError()])
def test_what_is_none(error):
    assert not is_death(error) and limit_of(error) is None


@pytest.mark.parametrize(
    "error, words",
    [
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError(errno.ENFILE, "Too many open files in system"), "ulimit -n"),
        (RuntimeError("Too many open files. Communication with the workers"), "ulimit -n"),
        (RuntimeError("unable to write to file </torch_1_2>: No space left (28)"), "/dev/shm"),
        (RuntimeError("unable to allocate shared memory(shm) for file </torch_1>"), "/dev/shm"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "ulimit -u"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "NUM_WORKERS"),
    ],
)
def test_limits_are_named_with_what_helps(error, words):
    message = str(limit_of(error))
    assert words in message and "\n" not in message


def test_deaths_of_too_little_shared_memory_say_so():
    text = "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that ..."
    assert "--shm-size" in str(too_many_deaths(4, text))
    assert "memory is short" in str(too_many_deaths(4, "DataLoader worker (pid 7) is killed"))


def no_room(self, *args, **kwargs):
    raise RuntimeError("unable to write to file </torch_7_0>: No space left on device (28)")


def test_batches_that_do_not_fit_into_shared_memory(cfg, monkeypatch):
    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", no_room)
    with pytest.raises(InputError, match="/dev/shm.*--shm-size.*DATA_LOADER.NUM_WORKERS"):
        list(build_loader(cfg, "train"))


@pytest.mark.parametrize("free", [0, 1, 4, 7])
def test_descriptors_that_end_while_a_batch_is_pickled(cfg, monkeypatch, free):
    """After ``free`` tensors of a worker: its queue's own thread would fail unseen."""
    dup, calls = multiprocessing.reduction.DupFd, count()

    def limited(handle):
        if get_worker_info() is not None and next(calls) >= free:
            raise OSError(errno.EMFILE, "Too many open files")
        return dup(handle)

    monkeypatch.setattr(multiprocessing.reduction, "DupFd", limited)
    with pytest.raises(InputError, match="too many open files.*ulimit -n"):
        list(build_loader(cfg, "train"))


READING = """
import resource, sys
from mutualvideo.data.loader import build_loader
from mutualvideo.config import load_cfg
from mutualvideo.commands.tool import run_tool
cfg = load_cfg(sys.argv[1])
held = [open("/dev/null") for _ in range(int(sys.argv[2]))]
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[3]),) * 2)
run_tool(lambda: print(sum(1 for _ in build_loader(cfg, "train")), "batches"))
"""


@pytest.mark.parametrize("workers, held, limit", [(0, 60, 64), (2, 10, 24), (4, 10, 44)])
def test_too_few_file_descriptors(cfg, tmp_path, workers, held, limit):
    """In a process of its own: no video is called unreadable for it, and one line says what."""
    cfg.DATA_LOADER.NUM_WORKERS = workers
    (tmp_path / "a.yaml").write_text(cfg.dump())
    command = [sys.executable, "-c", READING, tmp_path / "a.yaml", str(held), str(limit)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    if done.returncode == 0:  # it was enough after all
        assert done.stdout == "6 batches\n"
        return
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "ulimit -n" in line and "do not decode" not in done.stderr
    assert "AttributeError" not in done.stderr


def test_open_files_are_no_fault_of_a_video(folder):
    """A video that cannot be opened for want of a descriptor is not one to be replaced."""
    from mutualvideo.media import DecodeError, open_video

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        with pytest.raises(InputError, match="ulimit -n") as caught:
            open_video(folder / "0.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert not isinstance(caught.value, DecodeError)
