"""Checkpoints of training here, whose configuration travels in them."""

from mutualvideo.config.load import cfg_from_dict
from mutualvideo.errors import InputError, shown
from mutualvideo.models.model_registry import build_model, count_numbers
from mutualvideo.models.weights.pretrained import load_weights
from mutualvideo.models.weights.weights_file import read_checkpoint
from mutualvideo.slim import load_statistics

# Keys that decide which network a checkpoint's weights fit, and how it is slimmed.
_ARCHITECTURE = (
    "MODEL.MODEL_NAME",
    "MODEL.ARCH",
    "MODEL.NUM_CLASSES",
    "X3D.WIDTH_FACTOR",
    "X3D.DEPTH_FACTOR",
    "X3D.BOTTLENECK_FACTOR",
    "X3D.DIM_C5",
    "X3D.DIM_C1",
    "RESNET.DEPTH",
    "RESNET.NUM_BLOCK_TEMP_KERNEL",
    "NONLOCAL.LOCATION",
    "NONLOCAL.INSTANTIATION",
    "NONLOCAL.POOL",
    "MOBILENET.WIDTH_FACTOR",
    "WIDERESNET.DEPTH",
    "WIDERESNET.WIDEN_FACTOR",
    "SLOWFAST.ALPHA",
    "SLOWFAST.BETA_INV",
    "SLOWFAST.FUSION_CONV_CHANNEL_RATIO",
    "SLOWFAST.FUSION_KERNEL_SZ",
    "MUTUAL.DIVISOR",
    "MUTUAL.WIDTH_RANGE",
)


def adopt_checkpoint_cfg(cfg, checkpoint, origin):
    """``cfg`` with the width range of ``checkpoint``, after checking that the network is one.

    Raises:
        InputError: naming the first architecture key that differs.
    """
    if "cfg" not in checkpoint or not isinstance(checkpoint["cfg"], dict):
        return cfg
    theirs = cfg_from_dict(checkpoint["cfg"], origin)
    for key in _ARCHITECTURE:
        section, leaf = key.split(".")
        here, there = cfg[section][leaf], theirs[section][leaf]
        if here != there and key != "MUTUAL.WIDTH_RANGE":
            raise InputError(
                f"{origin}: belongs to another architecture: {key} is {there} there, {here} here"
            )
    cfg = cfg.clone()
    cfg.MUTUAL.WIDTH_RANGE = list(theirs.MUTUAL.WIDTH_RANGE)
    return cfg


def load_model(path, statistics=None):
    """The slimmable network of a mutualvideo checkpoint, whose configuration travels in it.

    Args:
        path: checkpoint file that training wrote.
        statistics: file of calibrated BatchNorm statistics (written beside the query
            table), or ``None``.

    Returns:
        ``(model, cfg)``: the network in eval mode, on the CPU, loaded strictly.

    Raises:
        InputError: if a file cannot be read or does not fit.
    """
    checkpoint = read_checkpoint(path)
    if not isinstance(checkpoint.get("cfg"), dict):
        raise InputError(f"{path}: carries no configuration; give a checkpoint that training wrote")
    cfg = cfg_from_dict(checkpoint["cfg"], str(path))
    _require_fit(cfg, checkpoint["model_state"], path)
    model = build_model(cfg)
    load_weights(model, checkpoint["model_state"], str(path))
    if statistics is not None:
        load_statistics(model, statistics)
    return model.eval(), cfg


def _require_fit(cfg, state, path):
    """Refuses a configuration that asks for far more than the file holds: it may be hostile."""
    try:
        wanted = count_numbers(cfg)
    except InputError as error:
        raise InputError(f"{path}: its configuration makes no network: {error}") from error
    # Of the libraries' builders, for numbers that go together badly.
    except Exception as error:
        raise InputError(
            f"{path}: its configuration makes no network: {shown(str(error))}"
        ) from error
    found = sum(tensor.numel() for tensor in state.values())
    if wanted > found:
        raise InputError(
            f"{path}: belongs to another architecture: its configuration asks for {wanted} "
            f"numbers, it holds {found}"
        )
