"""Reading files of weights, and saying why one cannot be read. Nothing in them is executed."""

import os
import pickletools
import re
import warnings
import zipfile
from itertools import islice
from typing import Any, BinaryIO

import torch

from mutualvideo.errors import InputError, shown

# Where the weights lie in a checkpoint: of training here, PyTorchVideo and PySlowFast; of timm
# and many others; of torchvision's and MutualNet's training scripts.
_WEIGHTS = ("model_state", "state_dict", "model")
# First bytes of what torch.save wrote before version 1.6, and how many pickles such a file
# has before the numbers: two of versions, one of the system, the content, the storages.
_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_PICKLES = 5
# How torch names what a file wants to be made, in its long message.
_GLOBAL = re.compile(r"GLOBAL (\S+)")
_CUT_OFF = "it is cut off, or damaged; fetch it again"
_SAVE_AGAIN = "save the network's state_dict() alone, with torch.save"


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The dict in a checkpoint file, on the CPU.

    Files of ``torch.save``, of any age, whose content is tensors and plain values: those of
    training here, of PyTorchVideo's and PySlowFast's model zoos (``{"model_state": ...}``), of
    torchvision (the tensors themselves) and others (``{"state_dict": ...}``,
    ``{"model": ...}``, as MutualNet's).

    Returns:
        dict: the file's, whose ``"model_state"`` is always ``{name: tensor}``, names as they
        are in the file.

    Raises:
        InputError: if the file is missing, damaged, of another kind, asks for Python objects
            to be made (``weights_only``), or holds no weights.
    """
    if os.path.isdir(path):
        raise InputError(f"{path}: no such checkpoint file, it is a folder: name a file in it")
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such checkpoint file")
    try:
        with warnings.catch_warnings():
            # Of TorchScript archives and odd pickles: what is wrong is told below, in one line.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        why = _why_not(path, error)
        raise InputError(f"{path}: cannot be read as a checkpoint: {why}") from error
    if (name := _damaged_part(path)) is not None:
        raise InputError(
            f"{path}: is damaged: the checksum of {name} does not fit its content; fetch it again"
        )
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: holds no model_state but a {type(content).__name__}; {_SAVE_AGAIN}"
        )
    if content and all(isinstance(value, torch.Tensor) for value in content.values()):
        return {"model_state": _checked(content, path)}
    for key in _WEIGHTS:
        if isinstance(content.get(key), dict):
            return {**content, "model_state": _checked(content[key], path)}
    keys = ", ".join(k[:40] if isinstance(k, str) else shown(k) for k in islice(content, 20))
    keys = keys or "nothing"
    raise InputError(
        f"{path}: holds no model_state, state_dict or model but {keys}, so it is not a checkpoint "
        f"of a network; {_SAVE_AGAIN}"
    )


def _damaged_part(path: str | os.PathLike[str]) -> str | None:
    """Name of the first part of an archive whose checksum is wrong: torch does not look."""
    if not zipfile.is_zipfile(path):  # before torch 1.6, without checksums
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except Exception as error:  # what a damaged one raises is not documented
        return f"its parts ({type(error).__name__})"


def _checked(state: dict[Any, Any], path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            name = name if isinstance(name, str) else shown(name)
            raise InputError(
                f"{path}: {name} is a {type(value).__name__} where a tensor is expected; "
                f"{_SAVE_AGAIN}"
            )
        plain = value.layout == torch.strided and not (value.is_meta or value.is_quantized)
        if not plain or value.is_nested or value.is_complex():
            raise InputError(
                f"{path}: {name} is no plain tensor of numbers ({value.dtype}, {value.layout}, "
                f"{value.device}); {_SAVE_AGAIN}"
            )
    return dict(state)


def _why_not(path: str | os.PathLike[str], error: Exception) -> str:
    """Why ``torch.load`` raised ``error``: its own messages advise to read without checks."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if zipfile.is_zipfile(path):
        if any(name.endswith("/constants.pkl") for name in _names_in(path)):
            return f"it is a TorchScript archive, code with weights; {_SAVE_AGAIN}"
        return _what_it_wants(error) or _CUT_OFF
    with open(path, "rb") as file:
        head = file.read(len(_LEGACY_MAGIC))
        file.seek(0)
        if not head:
            return "it is empty; fetch it again"
        if head.startswith(b"PK"):
            return _CUT_OFF
        if head == _LEGACY_MAGIC:
            # A pickle that ends within a name wants an object that there is not.
            whole = all(_strings(file) is not None for _ in range(_LEGACY_PICKLES))
            return (whole and _what_it_wants(error)) or _CUT_OFF
        strings = _strings(file)
    if strings is None:
        return f"it is no file of torch.save; {_SAVE_AGAIN}"
    if "blobs" in strings:
        return (
            "it is a Caffe2 file, a pickle of arrays; convert it with PySlowFast, or take the "
            "zoo's .pyth of the network"
        )
    return f"it is a plain pickle, no file of torch.save; {_SAVE_AGAIN}"


def _names_in(path: str | os.PathLike[str]) -> list[str]:
    """Names of the files in an archive, none if it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except Exception:  # what a damaged one raises is not documented
        return []


def _what_it_wants(error: Exception) -> str | None:
    if match := _GLOBAL.search(str(error)):
        return (
            f"it asks for the Python object {match[1]}, and only tensors and plain values are "
            f"read; {_SAVE_AGAIN}"
        )
    return None


def _strings(file: BinaryIO) -> list[str] | None:
    """Strings of the pickle that ``file`` is at, in order; ``None`` if it is not a whole one."""
    try:
        return [arg for _, arg, _ in pickletools.genops(file) if isinstance(arg, str)]
    except Exception:  # of damaged ones more than is documented
        return None
