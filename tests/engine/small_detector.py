"""A detector that trains in a second or two."""

from mutualvideo.config import get_cfg


def small_detector(data, output, **changes):
    """Its configuration.

    Args:
        data: folder of ``make_toy_detection``.
        output: OUTPUT_DIR.
        changes: keys, ``SECTION__KEY=value``.
    """
    cfg = get_cfg()
    cfg.merge_from_list(
        ["MODEL.MODEL_NAME", "RetinaNet_R18_FPN", "MODEL.NUM_CLASSES", 7]
        + ["MODEL.DROPOUT_RATE", 0.0, "DATA.PATH_TO_DATA_DIR", str(data)]
        + ["TRAIN.DATASET", "cocodetection", "TEST.DATASET", "cocodetection"]
        + ["DATA.TRAIN_CROP_SIZE", 48, "TRAIN.BATCH_SIZE", 4, "TRAIN.EVAL_PERIOD", 0]
        + ["DATA_LOADER.NUM_WORKERS", 0, "LOG_PERIOD", 1, "SOLVER.MAX_EPOCH", 2]
        + ["SOLVER.BASE_LR", 0.01, "TABLE.CALIBRATION_BATCHES", 2, "TABLE.LATENCY", False]
        + ["OUTPUT_DIR", str(output)]
    )
    cfg.DETECTOR.STEM_CHANNELS, cfg.DETECTOR.PYRAMID_CHANNELS = 8, 16
    cfg.DETECTOR.ANCHOR_SIZES = [8, 16, 32]
    cfg.MUTUAL.WIDTH_RANGE, cfg.MUTUAL.SIZES = [0.25, 1.0], [48, 40, 32]
    cfg.MUTUAL.WIDTHS = [0.25, 0.6, 1.0]  # their costs are counted
    cfg.TABLE.WIDTHS, cfg.TABLE.SIZES = [1.0, 0.25], [48, 32]
    for key, value in changes.items():
        section, leaf = key.split("__")
        cfg[section][leaf] = value
    return cfg
