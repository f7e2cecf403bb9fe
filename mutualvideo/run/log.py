"""The log: console, ``stdout.log``, PySlowFast's ``json_stats`` lines, TensorBoard."""

import logging
import os
import sys

import numpy as np
import simplejson
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger(__name__)

# Ours alone: a program around us keeps its own.
_handlers = []


def setup_logging(output_dir, is_main):
    """Logs to standard output and to ``output_dir/stdout.log``; only the main process does."""
    root = logging.getLogger()
    while _handlers:
        handler = _handlers.pop()
        root.removeHandler(handler)
        handler.close()
    if not is_main:
        root.setLevel(logging.ERROR)
        return
    os.makedirs(output_dir, exist_ok=True)
    line = logging.Formatter("[%(asctime)s] %(message)s", datefmt="%m/%d %H:%M:%S")
    file = logging.FileHandler(os.path.join(output_dir, "stdout.log"), encoding="utf-8")
    for handler in (logging.StreamHandler(sys.stdout), file):
        handler.setFormatter(line)
        root.addHandler(handler)
        _handlers.append(handler)
    root.setLevel(logging.INFO)


def log_json_stats(stats):
    """One machine-readable line, ``json_stats: {...}``, keys sorted, as PySlowFast writes it.

    Numbers that are not finite, of steps that were skipped, are ``null``: JSON has none.
    """
    rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in stats.items()}
    logger.info("json_stats: %s", simplejson.dumps(rounded, sort_keys=True, ignore_nan=True))


class Scalars:
    """TensorBoard files under ``output_dir/tensorboard``; silent but in the main process."""

    def __init__(self, output_dir, is_main):
        folder = os.path.join(output_dir, "tensorboard")
        self._writer = SummaryWriter(folder) if is_main else None

    def add(self, values, step):
        """Writes ``{name: number}`` at ``step``."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def add_text(self, name, markdown):
        """Writes a page of text."""
        if self._writer is not None:
            self._writer.add_text(name, markdown)

    def add_picture(self, name, path):
        """Writes the picture in the file ``path``."""
        if self._writer is not None:
            with Image.open(path) as picture:
                self._writer.add_image(name, np.array(picture.convert("RGB")), dataformats="HWC")

    def close(self):
        if self._writer is not None:
            self._writer.close()
