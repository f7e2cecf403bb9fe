"""What a training took, over all the times that it was continued: ``training_cost.json``."""

import json
import os
import time
from pathlib import Path

from mutualvideo.files import atomic_path

COST_NAME = "training_cost.json"


class TrainingCost:
    """Processor and wall-clock seconds of a run, carried on when it is continued.

    Processor seconds are those of all processes and of their loaders' workers (of workers that are
    still running on Linux alone; elsewhere they count once they have ended).

    Args:
        folder: OUTPUT_DIR of the run.
        resumed: whether it goes on; else what a run before left there does not count.
    """

    def __init__(self, folder, resumed):
        self._path = os.path.join(folder, COST_NAME)
        self._before = _read(self._path) if resumed else {}
        self._began = _now()

    def macs_before(self, steps):
        """Multiply-adds of the first ``steps`` steps, or ``None`` where no file tells.

        Where it tells of another number of them, since a checkpoint could not be read or a list of
        videos was changed, they are taken in proportion.
        """
        known, macs = self._before.get("steps"), self._before.get("macs")
        if not steps:
            return 0
        return round(macs * steps / known) if known and macs else None

    def spent(self):
        """(processor seconds, wall-clock seconds) of this process since it began this run."""
        return [now - began for now, began in zip(_now(), self._began, strict=True)]

    def save(self, epochs, steps, macs, cpu_seconds):
        """Writes the file; the main process does.

        Args:
            epochs, steps, macs: since the very beginning.
            cpu_seconds: :meth:`spent`, added up over the processes.
        """
        before = (self._before.get(name, 0.0) for name in ("cpu_seconds", "wall_seconds"))
        spent = [b + s for b, s in zip(before, (cpu_seconds, self.spent()[1]), strict=True)]
        content = {
            "epochs": epochs,
            "steps": steps,
            "macs": macs,
            "cpu_seconds": round(spent[0], 1),
            "wall_seconds": round(spent[1], 1),
        }
        with atomic_path(self._path) as temporary:
            temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _now():
    ended = sum(os.times()[:4])  # this process, and workers that have ended
    return ended + _of_workers(), time.monotonic()


def _of_workers():
    """Processor seconds of the child processes that are running, such as a loader's workers."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the command, in parentheses: state, parent, ... user and system time.
            values = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(values[1]) == os.getpid():
            ticks += int(values[11]) + int(values[12])
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0


def _read(path):
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
