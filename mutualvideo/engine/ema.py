"""An exponential moving average of the weights, as a network of its own."""

from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mutualvideo.errors import InputError


def build_ema(model, cfg):
    """``torch.optim.swa_utils.AveragedModel`` of ``model``, or ``None`` if TRAIN.EMA_DECAY is 0.

    Its BatchNorm statistics are the model's: those of its sub-networks are calibrated anyway.

    Raises:
        InputError: if TRAIN.EMA_DECAY is not from 0 to below 1, or 0 where TEST.EMA wants a table.
    """
    decay = cfg.TRAIN.EMA_DECAY
    if not 0 <= decay < 1:
        raise InputError(f"TRAIN.EMA_DECAY must be from 0 to below 1, not {decay}")
    if not decay and cfg.TEST.ENABLE and cfg.TEST.EMA:
        raise InputError("TEST.EMA: there is no moving average to evaluate; set TRAIN.EMA_DECAY")
    if not decay:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
