"""What a run starts from: its own newest checkpoint, or somebody's weights."""

import logging

from mutualvideo.engine.tasks import task_of
from mutualvideo.errors import InputError
from mutualvideo.models import local_weights, read_checkpoint
from mutualvideo.run.checkpoint import newest_checkpoint, read_newest
from mutualvideo.run.distributed import from_main

logger = logging.getLogger(__name__)


def newest_of(cfg, context):
    """The checkpoint to go on from, the main process's choice.

    Returns:
        ``(path, content)``, or ``None``: there is none.

    Raises:
        InputError: if there are some and none is intact, or TRAIN.AUTO_RESUME is not set: what the
            run that begins anew leaves could not be told from them.
    """
    if not cfg.TRAIN.AUTO_RESUME:
        there = from_main(newest_checkpoint(cfg.OUTPUT_DIR) if context.is_main else None)
        if there is not None:
            raise InputError(
                f"TRAIN.AUTO_RESUME False: {there} is of a run before, and would be taken for this "
                "one's: remove the checkpoints, or give another OUTPUT_DIR"
            )
        return None
    found = read_newest(cfg.OUTPUT_DIR) if context.is_main else None
    path = from_main(found and found[0])
    if path is None or context.is_main:
        return found
    return path, read_checkpoint(path)


def load_initial(cfg, model):
    """Loads the weights that a new run starts from, if there are any.

    Args:
        cfg: the configuration; TRAIN.CHECKPOINT_FILE_PATH is read.
        model: a slimmable network.

    Raises:
        InputError: if the file cannot be read or is another network's.
    """
    path = cfg.TRAIN.CHECKPOINT_FILE_PATH
    if path:
        task_of(cfg).load(model, local_weights(path))
        logger.info("started from the weights of %s", path)
