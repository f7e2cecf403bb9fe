"""Freed memory that is kept: counted in the page faults of a process of its own."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from mutualvideo.run.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        blocks = [b"x" * (32 << 20) for _ in range(2)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

plain = faults()
assert keep_freed_memory()
faults()
print(plain, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="tells glibc's allocator")
def test_pages_are_asked_for_once():
    out = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    plain, kept = map(int, out.stdout.split())
    # Ten times two blocks of 8192 pages (fewer faults where pages are huge), and next to none.
    assert plain > 20 and kept < plain / 10
