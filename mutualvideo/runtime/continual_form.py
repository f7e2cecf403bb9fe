"""A backend's sub-network in continual form."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from torch import nn

from mutualvideo.backends.common.over_network import NetworkBackend
from mutualvideo.continual import ContinualNetwork
from mutualvideo.errors import InputError
from mutualvideo.slim import extract, load_statistics, weights_layout
from mutualvideo.subnet import Subnet


def continual_network(model: nn.Module, statistics: Path | None) -> nn.Module:
    """A network whose sub-networks have the statistics of streams.

    Its parameters are those of ``model``, whose sub-networks keep their own statistics, for clips.

    Args:
        model: a slimmable network.
        statistics: the file; ``None``: there are none for streams, and ``model`` is returned.

    Raises:
        InputError: if the file cannot be read, or belongs to another network.
    """
    if statistics is None:
        return model
    shared = {id(parameter): parameter for parameter in model.parameters()}
    network = copy.deepcopy(model, shared)
    load_statistics(network, statistics)
    return network


def continual_form(backend: NetworkBackend, network: Any, subnet: Subnet) -> ContinualNetwork:
    """A sub-network that takes one frame at a time, on the backend that it runs clips on.

    On ``torch`` it is the slimmable network itself; on all others it is cut out, BatchNorm folded.
    ``openvino`` and ``onnxruntime`` run it on the CPU in fp32, and take seconds to prepare it.

    Args:
        backend: ``torch``, ``torch-extracted``, ``openvino`` or ``onnxruntime``, over a network
            that lies in memory.
        network: :func:`continual_network` of that.
        subnet: one that is calibrated.

    Raises:
        InputError: for a network without such a form, or another device or precision.
    """
    if backend.name == "torch":
        return ContinualNetwork(network, subnet=subnet)
    static = extract(network, subnet, fold=True).requires_grad_(False)
    form = ContinualNetwork(static, subnet.frames, subnet.size)
    if backend.name == "torch-extracted":
        static.to(memory_format=weights_layout(static))
        return form
    from mutualvideo.runtime.step_graph import execute_onnxruntime, execute_openvino

    kind = backend.kind
    if (kind.device, kind.precision) != ("cpu", "fp32"):
        raise InputError(
            f"continual: backend {backend.name!r} runs networks in continual form on the CPU in "
            f"fp32, not on {kind.device} in {kind.precision}"
        )
    make = {"openvino": execute_openvino, "onnxruntime": execute_onnxruntime}[backend.name]
    execute = make(static, subnet, kind.threads)
    return ContinualNetwork(static, subnet.frames, subnet.size, execute=execute)
