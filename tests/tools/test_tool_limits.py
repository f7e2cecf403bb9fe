"""Limits of the system in one line, whatever part of a tool meets them."""

import errno
import os

import pytest
import torch

from mutualvideo.commands.tool import run_tool


def ended(error, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as stopped:
        run_tool(main)
    return stopped.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    "error, words",
    [
        (MemoryError(), "out of memory: lower TRAIN.BATCH_SIZE"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried\nto allocate"), "out of memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't"), "out of mem"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE), "a.mp4"), "ulimit -n"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.csv"), "free some space"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "a.csv"), "quota"),
    ],
)
def test_one_line(error, words, capsys):
    code, text = ended(error, capsys)
    assert code == 2 and text.startswith("error: ") and text.count("\n") == 1 and words in text


def test_memory_for_real(capsys):
    def main():
        torch.empty(1 << 50)

    with pytest.raises(SystemExit):
        run_tool(main)
    assert capsys.readouterr().err.startswith("error: out of memory: ")


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError(errno.EIO, "a bug")])
def test_bugs_keep_their_traceback(error):
    def main():
        raise error

    with pytest.raises(type(error)):
        run_tool(main)
