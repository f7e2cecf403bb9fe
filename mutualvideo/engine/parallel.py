"""A network that several processes train together."""

from torch.nn.parallel import DistributedDataParallel

from mutualvideo.errors import InputError
from mutualvideo.slim import slim_state
from mutualvideo.slim.subclass import require_shareable_norms


def run_parallel(model, cfg, context):
    """``DistributedDataParallel`` around ``model``, or ``None`` in a single process.

    Also says whether BatchNorm's statistics are of all processes (``BN.NORM_TYPE sync_batchnorm``).

    Raises:
        InputError: if a BatchNorm of the network cannot share its statistics.
    """
    is_shared = cfg.BN.NORM_TYPE == "sync_batchnorm"
    if is_shared:
        try:
            require_shareable_norms(model)
        except InputError as error:
            raise InputError(f"{error}: set BN.NORM_TYPE batchnorm") from error
    slim_state(model).over_processes = is_shared and context.world_size > 1
    if context.world_size == 1:
        return None
    on_gpu = context.device.type == "cuda"
    return DistributedDataParallel(model, device_ids=[context.device.index] if on_gpu else None)
