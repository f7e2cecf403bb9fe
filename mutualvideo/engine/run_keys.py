"""Keys of a run whose values can be judged without data, network or device."""

import math

from mutualvideo.engine.multigrid import build_schedule
from mutualvideo.engine.optimizer import check_schedule, check_solver
from mutualvideo.errors import InputError

# Smallest value that means something; of periods 0 means: never.
_AT_LEAST = {
    "LOG_PERIOD": 1,
    "TRAIN.EVAL_PERIOD": 0,
    "TRAIN.CHECKPOINT_PERIOD": 0,
    "TRAIN.TIME_LIMIT": 0,
    "TRAIN.CHECKPOINT_STEPS": 0,
    "TRAIN.KEEP_CHECKPOINTS": 0,
    "TRAIN.MAX_SKIPPED_STEPS": 0,
    "TRAIN.FREEZE": 0,
    "TRAIN.PATIENCE": 0,
    "TRAIN.MICRO_BATCHES": 1,
    "TRAIN.COMPILE_GRAPHS": 1,
    "MUTUAL.ALONE_EPOCHS": 0,
    "MUTUAL.RAMP_EPOCHS": 0,
    "MUTUAL.NUM_RANDOM": 0,
    "DATA.NUM_FRAMES": 1,
    "DATA.SAMPLING_RATE": 1,
    "DATA.TARGET_FPS": 1,
    "DATA.TRAIN_CROP_SIZE": 1,
    "DATA.TEST_CROP_SIZE": 1,
    "DATA_LOADER.NUM_WORKERS": 0,
    "TABLE.CALIBRATION_BATCHES": 1,
    "TABLE.LATENCY_BATCH": 1,
    "TEST.BATCH_SIZE": 1,
    "TEST.NUM_ENSEMBLE_VIEWS": 1,
}
# Names that PySlowFast has for the binary cross-entropy.
_BINARY = ("bce", "bce_logit")
# Above this torch takes no seed, which is RNG_SEED in its upper half and the step in the lower.
_SEEDS = 2**32


def check_training_keys(cfg):
    """Raises InputError, naming the key, for what training could not do or would not say.

    Also for pairs of keys: a warm-up or a time alone as long as the run.
    """
    _check_loss(cfg)
    _check_least(cfg, lambda key: not key.startswith(("TABLE.", "TEST.")))
    _check_choice(cfg)
    if not 0 <= cfg.MODEL.LABEL_SMOOTHING <= 1:
        raise InputError(
            f"MODEL.LABEL_SMOOTHING must be from 0 to 1, not {cfg.MODEL.LABEL_SMOOTHING:g}"
        )
    _check_colours(cfg.DATA)
    _check_seed(cfg)
    _check_widths(cfg.MUTUAL)
    norm, decay = cfg.BN.NORM_TYPE, cfg.BN.WEIGHT_DECAY
    if norm not in ("batchnorm", "sync_batchnorm"):
        raise InputError(f"BN.NORM_TYPE {norm}: choose batchnorm or sync_batchnorm")
    if not 0 <= decay < math.inf:
        raise InputError(f"BN.WEIGHT_DECAY must not be negative, got {decay}")
    check_solver(cfg.SOLVER)
    check_schedule(cfg.SOLVER)
    schedule = build_schedule(cfg)
    try:
        check_schedule(schedule.solver)
    except InputError as error:
        factor = cfg.MULTIGRID.EPOCH_FACTOR
        raise InputError(f"with MULTIGRID.EPOCH_FACTOR {factor:g}: {error}") from None
    check_alone(cfg)
    _check_ramp(cfg)


def _check_loss(cfg):
    loss, several = cfg.MODEL.LOSS_FUNC, cfg.DATA.MULTI_LABEL
    if loss not in ("cross_entropy", *_BINARY):
        raise InputError(
            f"MODEL.LOSS_FUNC {loss}: choose cross_entropy, or of several labels a video bce_logit"
        )
    if several and loss not in _BINARY:
        raise InputError(
            f"DATA.MULTI_LABEL True with MODEL.LOSS_FUNC {loss}: set MODEL.LOSS_FUNC bce_logit"
        )
    if not several and loss in _BINARY:
        raise InputError(
            f"MODEL.LOSS_FUNC {loss} is of videos with several labels: set DATA.MULTI_LABEL True, "
            "or MODEL.LOSS_FUNC cross_entropy"
        )


def _check_choice(cfg):
    """How videos are drawn, and which of the networks of a run is kept."""
    if cfg.DATA.SAMPLER not in ("random", "balanced", "shards"):
        raise InputError(f"DATA.SAMPLER {cfg.DATA.SAMPLER}: choose random, balanced or shards")
    if cfg.DATA.SAMPLER == "balanced" and cfg.DATA.MULTI_LABEL:
        raise InputError(
            "DATA.SAMPLER balanced is of videos with one label each; with DATA.MULTI_LABEL set "
            "MODEL.CLASS_WEIGHTS"
        )
    if (cfg.TRAIN.KEEP_BEST or cfg.TRAIN.PATIENCE) and not cfg.TRAIN.EVAL_PERIOD:
        key = "PATIENCE" if cfg.TRAIN.PATIENCE else "KEEP_BEST"
        raise InputError(
            f"TRAIN.{key} goes by the val list, and TRAIN.EVAL_PERIOD 0 never reads it: set that"
        )


def check_alone(cfg):
    """Raises InputError if MUTUAL.ALONE_EPOCHS leaves no epoch for the sub-networks."""
    alone, epochs = cfg.MUTUAL.ALONE_EPOCHS, build_schedule(cfg).epochs
    if cfg.MUTUAL.MODE != "single" and alone and alone >= epochs:
        raise InputError(
            f"MUTUAL.ALONE_EPOCHS {alone} of {_epochs_told(cfg, epochs)}: no sub-network would "
            "ever be trained; shorten it in the same proportion, or set MUTUAL.MODE single"
        )


def _epochs_told(cfg, epochs):
    if epochs == cfg.SOLVER.MAX_EPOCH:
        return f"SOLVER.MAX_EPOCH {epochs}"
    return f"the {epochs} epochs of MULTIGRID"


def _check_ramp(cfg):
    mutual, epochs = cfg.MUTUAL, build_schedule(cfg).epochs
    if mutual.MODE != "single" and mutual.ALONE_EPOCHS + mutual.RAMP_EPOCHS > epochs:
        raise InputError(
            f"MUTUAL.RAMP_EPOCHS {mutual.RAMP_EPOCHS:g} after MUTUAL.ALONE_EPOCHS "
            f"{mutual.ALONE_EPOCHS} of {_epochs_told(cfg, epochs)}: the losses of sub-networks "
            "would never have their full weight; shorten it in the same proportion"
        )


def _check_widths(mutual):
    widths = mutual.WIDTH_RANGE
    if len(widths) != 2 or not 0 < widths[0] <= widths[1] < math.inf:
        raise InputError(
            f"MUTUAL.WIDTH_RANGE must be the narrowest and the widest, above 0, got {widths}"
        )


def _check_seed(cfg):
    if not 0 <= cfg.RNG_SEED < _SEEDS:
        raise InputError(f"RNG_SEED must be from 0 to {_SEEDS - 1}, got {cfg.RNG_SEED}")


def check_test_keys(cfg):
    """Raises InputError, naming the key of ``TEST`` or ``TABLE`` that no evaluation can have."""
    _check_least(cfg, lambda key: key.startswith(("TABLE.", "TEST.", "DATA", "LOG")))
    _check_colours(cfg.DATA)
    _check_seed(cfg)
    _check_widths(cfg.MUTUAL)
    if cfg.TEST.NUM_SPATIAL_CROPS not in (1, 3):
        raise InputError(f"TEST.NUM_SPATIAL_CROPS must be 1 or 3, not {cfg.TEST.NUM_SPATIAL_CROPS}")
    if cfg.DATA.ENSEMBLE_METHOD not in ("sum", "max"):
        raise InputError(f"DATA.ENSEMBLE_METHOD {cfg.DATA.ENSEMBLE_METHOD}: choose sum or max")


def _check_least(cfg, is_meant):
    for key, least in _AT_LEAST.items():
        if not is_meant(key):
            continue
        section, _, leaf = key.rpartition(".")
        value = (cfg[section] if section else cfg)[leaf]
        if not least <= value < math.inf:
            bound = "not be negative" if least == 0 else f"be at least {least}"
            raise InputError(f"{key} must {bound}, got {value}")


def _check_colours(data):
    for key in ("MEAN", "STD"):
        if len(data[key]) != 3:
            raise InputError(f"DATA.{key} must have 3 values (red, green, blue), got {data[key]}")
    if min(data.STD) <= 0:
        raise InputError(f"DATA.STD must be above 0, got {data.STD}")
