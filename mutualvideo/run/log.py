"""The log: console and ``stdout.log`` for people, ``stats.jsonl`` for scripts, TensorBoard."""

import logging
import os
import re
import sys
import textwrap
import threading
from contextlib import contextmanager

import numpy as np
import simplejson
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from mutualvideo.errors import InputError

logger = logging.getLogger(__name__)

STATS_NAME = "stats.jsonl"
# For machines; what is for people too goes on to the root logger.
_stats = logging.getLogger(f"{__name__}.json_stats")
# Longer lines are broken for people. Lines for machines never are.
_WIDTH = 120
# A space where no line ends.
_KEPT, _AFTER_A_NUMBER = "\u00a0", re.compile(r"(?<=\d) (?=\S)")

# Ours alone, and the logger that each belongs to: a program around us keeps its own.
_handlers = []


def _tell_of_thread(args, tell=threading.excepthook):
    """TensorBoard's thread that writes raises again where it is asked to write the next time."""
    if not (type(args.thread).__name__ == "_AsyncWriterThread" and args.exc_type is OSError):
        tell(args)


def setup_logging(output_dir, is_main, json_stats=False):
    """Logs to standard output and to ``output_dir/stdout.log``; only the main process does.

    What :func:`log_json_stats` is given goes to ``output_dir/stats.jsonl``, a line of JSON each;
    with ``json_stats`` (LOG_JSON_STATS) also to the other two.
    """
    root = logging.getLogger()
    while _handlers:
        owner, handler = _handlers.pop()
        owner.removeHandler(handler)
        handler.close()
    threading.excepthook = _tell_of_thread
    _stats.propagate = json_stats or not is_main
    if not is_main:
        root.setLevel(logging.ERROR)
        return
    try:
        os.makedirs(output_dir, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output_dir}: cannot be made a folder ({error.strerror})") from error
    line = _Lines("[%(asctime)s] %(message)s", datefmt="%m/%d %H:%M:%S")
    path = os.path.join(output_dir, "stdout.log")
    try:
        file = _LogFile(path, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    # Made when there is something to write.
    stats = _LogFile(os.path.join(output_dir, STATS_NAME), encoding="utf-8", delay=True)
    for owner, handler, form in (
        (root, logging.StreamHandler(sys.stdout), line),
        (root, file, line),
        (_stats, stats, _Json()),
    ):
        handler.setFormatter(form)
        owner.addHandler(handler)
        _handlers.append((owner, handler))
    root.setLevel(logging.INFO)


class _Lines(logging.Formatter):
    """Breaks lines of more than 120 characters between words; those that follow are indented."""

    def format(self, record):
        text = super().format(record)
        if record.name == _stats.name:
            return text
        lines = []
        for line in text.split("\n"):
            broken = [line]
            if len(line) > _WIDTH:
                # A path stays whole, so that it can be copied, and a number with its unit.
                broken = textwrap.wrap(
                    _AFTER_A_NUMBER.sub(_KEPT, line),
                    _WIDTH,
                    subsequent_indent="    ",
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            lines += (part.replace(_KEPT, " ") for part in broken)
        return "\n".join(lines)


class _Json(logging.Formatter):
    """The JSON of a ``json_stats`` record alone."""

    def format(self, record):
        return record.args[0]


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
    """One line of ``stats.jsonl``, keys sorted: what PySlowFast logs as ``json_stats: {...}``.

    Numbers that are not finite, of steps that were skipped, are ``null``: JSON has none.
    """
    rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in stats.items()}
    _stats.info("json_stats: %s", simplejson.dumps(rounded, sort_keys=True, ignore_nan=True))


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
