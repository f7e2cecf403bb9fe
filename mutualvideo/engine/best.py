"""The best checkpoint of a run by validation, and when to give up: TRAIN.KEEP_BEST, PATIENCE."""

import json
import logging
import os

from mutualvideo.errors import InputError
from mutualvideo.files import atomic_path
from mutualvideo.run.checkpoint import best_path, keeps_best

logger = logging.getLogger(__name__)


class Best:
    """What validation has found so far; it outlives the process.

    Args:
        cfg: the configuration.
        goes_on: whether the run is one that was begun before: then what it found holds.
        val_list: what tells the list that is validated on from another. Scores of different lists
            are not compared: what was found on another is forgotten, with a warning.

    Attributes:
        enabled: whether anything is kept.
        path: where the best checkpoint lies.

    Raises:
        InputError: if what was kept cannot be read.
    """

    def __init__(self, cfg, goes_on, val_list):
        self.enabled = keeps_best(cfg)
        self._patience = cfg.TRAIN.PATIENCE
        # Validations since the best one: with MULTIGRID they are not equally far apart.
        self._since = 0
        self._period = cfg.TRAIN.EVAL_PERIOD
        self.path = best_path(cfg.OUTPUT_DIR)
        self._notes = os.path.splitext(self.path)[0] + ".json"
        self._score, self._epoch, self._judged = None, 0, 0
        self._val_list = val_list
        if self.enabled and goes_on and os.path.exists(self._notes):
            self._read()

    def _read(self):
        try:
            with open(self._notes, encoding="utf-8") as file:
                found = json.load(file)
            values = float(found["score"]), int(found["epoch"]), int(found["judged"])
            # Notes of earlier versions do not say which list, nor how many validations.
            val_list = found.get("val_list", self._val_list)
            since = (values[2] - values[1]) // max(1, self._period)
            self._since = int(found.get("since", since))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{self._notes}: cannot be read as what validation found ({error!r}); remove it, "
                "and the best from here on is kept"
            ) from None
        self._score, self._epoch, self._judged = values
        if val_list != self._val_list:
            logger.warning(
                "%s: the val list is another since; what scores best on it from here on is kept "
                "(on the old one, %.2f %% after epoch %d)",
                self._notes,
                self._score,
                self._epoch,
            )
            self._score, self._epoch, self._since = None, self._judged, 0

    def is_due(self, epoch):
        """Whether ``epoch`` is still to be judged: a run that was ended may have missed it."""
        return self.enabled and epoch > self._judged

    def judge(self, epoch, score, save):
        """Takes note of what validation found after ``epoch`` epochs, in the main process.

        Args:
            epoch: how many are done.
            score: percent; the higher the better, and among equals the first.
            save: writes the checkpoint to a path; called if this is the best.
        """
        self._since += 1
        if self._score is None or score > self._score:
            save(self.path)
            logger.info("best so far, %.2f %% on the val list: %s", score, self.path)
            self._score, self._epoch, self._since = score, epoch, 0
        self._judged = epoch
        notes = {"score": self._score, "epoch": self._epoch, "judged": self._judged}
        notes |= {"since": self._since, "val_list": self._val_list}
        with atomic_path(self._notes) as temporary:
            temporary.write_text(json.dumps(notes) + "\n", encoding="utf-8")

    def gives_up(self):
        """Why training is to end now; ``None``: it is not. The main process knows."""
        if not self._patience or self._score is None or self._since < self._patience:
            return None
        return f"TRAIN.PATIENCE: the best was after epoch {self._epoch} of {self._judged}"
