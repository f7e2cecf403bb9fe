"""Trains in processes that are killed at random: ``python -m tests.engine.killed CFG TIMES SEED``.

A process of its own, because its children are forks of it: to start Python and torch anew would
take longer than what they train.
"""

import os
import random
import re
import signal
import sys
import time
import traceback
from pathlib import Path

import torch

from mutualvideo.config import load_cfg
from mutualvideo.engine.train import train
from mutualvideo.run.distributed import Context
from mutualvideo.run.log import setup_logging


def steps_logged(path):
    return len(re.findall(r'"role": "full"', path.read_text())) if path.exists() else 0


def child(cfg):
    """A fork that trains; returns its process number."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            setup_logging(cfg.OUTPUT_DIR, True)
            train(cfg, Context(torch.device("cpu")))
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    return pid


def ended(pid):
    """How it ended, negative for a signal, or ``None`` if it has not."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def main(path, times, seed):
    torch.set_num_threads(1)
    cfg, rng = load_cfg(path), random.Random(seed)
    log = Path(cfg.OUTPUT_DIR, "stats.jsonl")
    kills = 0
    while True:
        # So many steps, and then somewhere in the next one, or in writing its checkpoint.
        goal = steps_logged(log) + rng.choice([0, 1, 1, 2])
        pid = child(cfg)
        while (code := ended(pid)) is None:
            if kills < times and steps_logged(log) >= goal:
                time.sleep(rng.uniform(0, 0.15))
                os.kill(pid, signal.SIGKILL)
                kills += 1
                goal = sys.maxsize
            time.sleep(0.002)
        if code != -signal.SIGKILL:
            print(kills, "killed")
            return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
