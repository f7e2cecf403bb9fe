"""The log: console, ``stdout.log``, PySlowFast's ``json_stats`` lines, TensorBoard."""

import logging
import os
import sys
import threading
from contextlib import contextmanager

import numpy as np
import simplejson
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from mutualvideo.errors import InputError

logger = logging.getLogger(__name__)

# Ours alone: a program around us keeps its own.
_handlers = []


def _tell_of_thread(args, tell=threading.excepthook):
    """TensorBoard's thread that writes raises again where it is asked to write the next time."""
    if not (type(args.thread).__name__ == "_AsyncWriterThread" and args.exc_type is OSError):
        tell(args)


def setup_logging(output_dir, is_main):
    """Logs to standard output and to ``output_dir/stdout.log``; only the main process does."""
    root = logging.getLogger()
    while _handlers:
        handler = _handlers.pop()
        root.removeHandler(handler)
        handler.close()
    threading.excepthook = _tell_of_thread
    if not is_main:
        root.setLevel(logging.ERROR)
        return
    os.makedirs(output_dir, exist_ok=True)
    line = logging.Formatter("[%(asctime)s] %(message)s", datefmt="%m/%d %H:%M:%S")
    path = os.path.join(output_dir, "stdout.log")
    try:
        file = _LogFile(path, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    for handler in (logging.StreamHandler(sys.stdout), file):
        handler.setFormatter(line)
        root.addHandler(handler)
        _handlers.append(handler)
    root.setLevel(logging.INFO)


class _LogFile(logging.FileHandler):
    """A log that ends with one line on standard error where the disk is full.

    What the run is for are its checkpoints, and these say so themselves.
    """

    ended = False

    def emit(self, record):
        if not self.ended:
            super().emit(record)

    def handleError(self, record):  # noqa: N802  (logging's name)
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self.ended = True
        print(
            f"warning: {self.baseFilename}: cannot be written ({error.strerror}); the log goes on "
            "here alone",
            file=sys.stderr,
        )

    def close(self):
        try:
            super().close()
        except OSError:  # of what could not be written before
            self.stream = None


def log_json_stats(stats):
    """One machine-readable line, ``json_stats: {...}``, keys sorted, as PySlowFast writes it.

    Numbers that are not finite, of steps that were skipped, are ``null``: JSON has none.
    """
    rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in stats.items()}
    logger.info("json_stats: %s", simplejson.dumps(rounded, sort_keys=True, ignore_nan=True))


class Scalars:
    """TensorBoard files under ``output_dir/tensorboard``; silent but in the main process."""

    def __init__(self, output_dir, is_main):
        self._folder, self._writer = os.path.join(output_dir, "tensorboard"), None
        if is_main:
            with self._ending():
                self._writer = SummaryWriter(self._folder)

    @contextmanager
    def _ending(self):
        """Figures in TensorBoard are not worth the end of a run: a full disk ends them alone."""
        try:
            yield
        except OSError as error:
            self._writer = None
            logger.warning(
                "%s: cannot be written (%s); TensorBoard's figures end here",
                self._folder,
                error.strerror or error,
            )

    def add(self, values, step):
        """Writes ``{name: number}`` at ``step``."""
        with self._ending():
            for name, value in values.items():
                if self._writer is not None:
                    self._writer.add_scalar(name, value, step)

    def add_text(self, name, markdown):
        """Writes a page of text."""
        if self._writer is not None:
            with self._ending():
                self._writer.add_text(name, markdown)

    def add_picture(self, name, path):
        """Writes the picture in the file ``path``."""
        if self._writer is not None:
            with Image.open(path) as picture, self._ending():
                self._writer.add_image(name, np.array(picture.convert("RGB")), dataformats="HWC")

    def close(self):
        if self._writer is not None:
            with self._ending():
                self._writer.close()
