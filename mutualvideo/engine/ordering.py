"""Important channels first, at the moment when sub-networks begin to train."""

import logging

from mutualvideo.errors import InputError

logger = logging.getLogger(__name__)


def order_before(cfg, plan):
    """Before which step channels are ordered: 0, the first one, or the end of the time alone.

    Args:
        cfg: the configuration; MUTUAL.ORDER_CHANNELS, ALONE_EPOCHS and MODE are read.
        plan: :class:`~mutualvideo.engine.step_plan.StepPlan`.

    Returns:
        The number of the step, or ``None``: they stay as they are.

    Raises:
        InputError: if nothing would have been learnt by then.
    """
    mutual = cfg.MUTUAL
    if not mutual.ORDER_CHANNELS:
        return None
    if mutual.ALONE_EPOCHS:
        return None if mutual.MODE == "single" else plan.before(mutual.ALONE_EPOCHS)
    if not cfg.TRAIN.CHECKPOINT_FILE_PATH:
        raise InputError(
            "MUTUAL.ORDER_CHANNELS puts the important channels of trained weights first: name "
            "their file in TRAIN.CHECKPOINT_FILE_PATH, let the full network begin alone "
            "(MUTUAL.ALONE_EPOCHS), or set MUTUAL.ORDER_CHANNELS False"
        )
    return 0


def must_order(updater, before, step):
    """Whether channels are to be ordered before ``step``: they have to be, and were not yet.

    A run may go on with another MUTUAL.ALONE_EPOCHS than it began with.

    Args:
        updater: :class:`~mutualvideo.engine.update.Updater`.
        before: what :func:`order_before` says.
        step: the number of the next one.
    """
    if updater.ordered is None:  # a checkpoint that does not tell: of the same keys, so it was
        updater.ordered = before is not None and step > before
    return before is not None and step >= before and not updater.ordered


def order_trained(task, updater):
    """Orders the network's channels, and with them what optimiser and moving average know of them.

    Args:
        task: :class:`~mutualvideo.engine.task.Task`.
        updater: :class:`~mutualvideo.engine.update.Updater`.
    """
    model, along = updater.model, {}
    for parameter, memory in updater.optimizer.state.items():
        along[parameter] = [
            value
            for value in memory.values()
            if getattr(value, "shape", None) == parameter.shape  # Adam counts steps, too
        ]
    if updater.ema is not None:
        average = updater.ema.module
        for own, theirs in (
            *zip(model.parameters(), average.parameters(), strict=True),
            *zip(model.buffers(), average.buffers(), strict=True),
        ):
            along.setdefault(own, []).append(theirs)
    logger.info("ordered the channels of %d sets of layers", task.order(model, along))
    updater.ordered = True
