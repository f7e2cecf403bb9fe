"""Keys of PySlowFast's Kinetics and Something-Something YAML files that mean nothing here.

They are accepted, so that such a file loads unchanged, and named in one warning. A key
that is neither here nor in our defaults is an error: a typing mistake must not pass.
"""

_IGNORED = {
    # torchrun and the visible devices decide what runs where.
    "NUM_GPUS",
    "NUM_SHARDS",
    "SHARD_ID",
    "DIST_BACKEND",
    # Every sub-network is calibrated, see TABLE.CALIBRATION_BATCHES.
    "BN.USE_PRECISE_STATS",
    "BN.NUM_BATCHES_PRECISE",
    "BN.NUM_SPLITS",
    "BN.NUM_SYNC_DEVICES",
    # The builder of each architecture knows these.
    "DATA.INPUT_CHANNEL_NUM",
    # Its reader of pictures gives BGR, which this makes RGB; here everything is RGB.
    "DATA.REVERSE_INPUT_CHANNEL",
    "RESNET.TRANS_FUNC",
    "RESNET.STRIDE_1X1",
    "RESNET.NUM_GROUPS",
    "RESNET.WIDTH_PER_GROUP",
    "RESNET.INPLACE_RELU",
    "RESNET.NUM_BLOCK_TEMP_KERNEL",
    "RESNET.SPATIAL_STRIDES",
    "RESNET.SPATIAL_DILATIONS",
    "X3D.SCALE_RES2",
    "X3D.BN_LIN5",
    "X3D.CHANNELWISE_3x3x3",
    "NONLOCAL.LOCATION",
    "NONLOCAL.GROUP",
    "NONLOCAL.INSTANTIATION",
    "NONLOCAL.POOL",
    # Of LR_POLICY steps_with_relative_lrs, which training refuses by name.
    "SOLVER.LRS",
    "SOLVER.STEPS",
    # Epochs are counted from 0 for whatever TRAIN.CHECKPOINT_FILE_PATH names.
    "TRAIN.CHECKPOINT_EPOCH_RESET",
    # Formats are recognised from the file, and image weights are inflated, which is logged.
    "TRAIN.CHECKPOINT_TYPE",
    "TRAIN.CHECKPOINT_INFLATE",
    "TEST.CHECKPOINT_TYPE",
    "TENSORBOARD.ENABLE",
    "LOG_MODEL_INFO",
}


_IGNORED_VALUES = {
    # Its default decoder: torchvision has removed it, and the frames are PyAV's.
    ("DATA.DECODING_BACKEND", "torchvision"),
    # Statistics of parts of a process's batch, for batches that its multigrid schedule enlarges.
    ("BN.NORM_TYPE", "sub_batchnorm"),
}


def is_ignored(key: str, value: object) -> bool:
    """Whether ``key``, or this value of it, is PySlowFast's and has no meaning here."""
    return key in _IGNORED or (isinstance(value, str) and (key, value) in _IGNORED_VALUES)
