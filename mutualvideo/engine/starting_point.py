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
    """Loads the weights that a new run starts from, if there are any, and orders their channels.

    Args:
        cfg: the configuration; TRAIN.CHECKPOINT_FILE_PATH and MUTUAL.ORDER_CHANNELS are read.
        model: a slimmable network.

    Raises:
        InputError: if the file cannot be read or is another network's, or channels are to be
            ordered and there are no weights.
    """
    path, task = cfg.TRAIN.CHECKPOINT_FILE_PATH, task_of(cfg)
    if path:
        task.load(model, local_weights(path))
        logger.info("started from the weights of %s", path)
    if cfg.MUTUAL.ORDER_CHANNELS:
        if not path:
            raise InputError(
                "MUTUAL.ORDER_CHANNELS puts the important channels of trained weights first: name "
                "their file in TRAIN.CHECKPOINT_FILE_PATH, or set MUTUAL.ORDER_CHANNELS False"
            )
        logger.info("ordered the channels of %d sets of layers", task.order(model))
