"""A plain torch network as the model of another runtime."""

from __future__ import annotations

import io
import warnings
from typing import Any

import torch
from torch import nn

from mutualvideo.backends.common.base import Shape, batch_shape
from mutualvideo.slim import channels_last

# Not with a context manager: conversion runs in the background, filters belong to all threads.
warnings.filterwarnings("ignore", r".*torch\.jit\.trace", FutureWarning)
warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)


def _blank(shape: Shape, batch: int) -> torch.Tensor:
    return channels_last(torch.zeros(batch_shape(shape, batch)))


def trace(network: nn.Module, example: Any) -> Any:
    """What ``network`` does with ``example``, a tensor or a tuple, for OpenVINO to convert."""
    return torch.jit.trace(network, example, check_trace=False)


@torch.no_grad()
def to_openvino(network: nn.Module, shape: Shape) -> Any:
    """``openvino.Model`` that takes clips, as a ``Runner`` does, and gives logits.

    Args:
        network: a plain network in eval mode, float32, on the CPU. The model refers to its
            weights.
        shape: (frames or ``None``, size) of the clip. Only the batch is free.
    """
    import openvino

    # Traced here: convert_model() would run the network a dozen times to do so.
    model = openvino.convert_model(trace(network, _blank(shape, 1)))
    model.reshape(list(batch_shape(shape, -1)))
    return model


@torch.no_grad()
def to_program(network: nn.Module, shape: Shape) -> torch.export.ExportedProgram:
    """``torch.export.ExportedProgram`` of a network; see :func:`to_openvino`."""
    return torch.export.export(network, **_example(shape))


def _example(shape: Shape) -> dict[str, Any]:
    """What ``torch.export`` is given: the clips, and that their number is free."""
    # Two of them: a batch of one would become a constant.
    clips = _blank(shape, 2).contiguous()
    return {"args": (clips,), "dynamic_shapes": ({0: torch.export.Dim("batch")},)}


@torch.no_grad()
def to_onnx(network: nn.Module, shape: Shape) -> bytes:
    """bytes of an ONNX model with input ``clip`` and output ``logits``; see :func:`to_openvino`."""
    file = io.BytesIO()
    program = torch.onnx.export(
        network,
        **_example(shape),
        dynamo=True,
        input_names=["clip"],
        output_names=["logits"],
        external_data=False,
        verbose=False,
    )
    program.save(file)  # type: ignore[union-attr, arg-type]
    return file.getvalue()
