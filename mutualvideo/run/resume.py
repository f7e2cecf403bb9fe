"""What was measured for a table that is not finished: an interrupted tool goes on from there."""

import hashlib
import json
import logging
import os
import time

import torch

from mutualvideo.config.load import cfg_to_dict
from mutualvideo.errors import InputError
from mutualvideo.run.tensor_file import write_tensors

logger = logging.getLogger(__name__)

# Neither changes a result.
_FREE = ("OUTPUT_DIR", "DATA_LOADER", "LOG_PERIOD")


def work_key(cfg, *facts):
    """What an unfinished table belongs to: the configuration and further texts, as one hash."""
    values = {key: value for key, value in cfg_to_dict(cfg).items() if key not in _FREE}
    text = json.dumps([values, *map(str, facts)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Work:
    """A file of named values, tensors and plain ones, of one process.

    Args:
        folder: where it lies.
        key: what it belongs to; a file of another key is left behind by another table and is
            not read.
        rank: number of the process.
        every_s: seconds between two savings of what is expensive to save, see :meth:`due`.
        clock: for the tests.
    """

    def __init__(self, folder, key, rank=0, every_s=60.0, clock=time.monotonic):
        self._path = os.path.join(folder, f"query_table.work.{rank}.pyth")
        self._every_s, self._clock, self._saved_s = every_s, clock, clock()
        self._content = {"key": key}
        if not os.path.isfile(self._path):
            return
        try:
            found = torch.load(self._path, weights_only=True)
            good = isinstance(found, dict) and found.get("key") == key
        except Exception:  # cut off, or no such file: whatever it is, it is not needed
            good = False
        if good:
            self._content = found
            logger.info("going on with the unfinished table of %s", self._path)
        else:
            logger.info("%s belongs to another table or is damaged: not read", self._path)

    def get(self, name, default=None):
        """A value that was saved."""
        return self._content.get(name, default)

    def due(self):
        """Whether it is time to save again."""
        return self._clock() - self._saved_s >= self._every_s

    def save(self, **values):
        """Writes values, atomically, beside those that are there.

        Raises:
            InputError: if the file cannot be written.
        """
        self._content.update(values)
        write_tensors(self._content, self._path)
        self._saved_s = self._clock()

    def remove(self):
        """The table is finished."""
        try:
            os.remove(self._path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise InputError(f"{self._path}: cannot be removed ({error.strerror})") from error
