"""A sub-network in continual form as one file: a frame and the state in, the next state out.

The inputs are the frame, float32 (B, 3, size, size), and the state's tensors: ``count`` and
``end``, int64 (B,), then those of the metadata's ``state`` in its order. The outputs are logits
(B, classes) and the next state in the same order, to be given with the next frame. ONNX names
them ``frame``, ``state.KEY``, ``logits`` and ``next.KEY``; of OpenVINO the order counts. A stream
starts with zeros everywhere, and ``end`` at ``ENDLESS`` (2**31 - 1). B is free.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mutualvideo.backends.common.to_runtime import trace
from mutualvideo.continual import ContinualNetwork
from mutualvideo.continual.frame_parts import ENDLESS
from mutualvideo.export import onnx_file, openvino_file
from mutualvideo.export.formats import require_one_of
from mutualvideo.export.origin import KEY, Origin, as_text
from mutualvideo.export.parity import TOLERANCE, Difference, DifferenceError, probes
from mutualvideo.export.subnet_file import Written, write_staged
from mutualvideo.files import StrPath
from mutualvideo.runtime.continual_form import continual_network
from mutualvideo.runtime.step_graph import StepGraph, step_to_onnx
from mutualvideo.runtime.stream_rows import stream_rows
from mutualvideo.subnet import Subnet
from mutualvideo.table.continual_table import ContinualRow

State = dict[str, np.ndarray]
# (frame, state) -> (logits, next state)
Step = Callable[[np.ndarray, State], tuple[np.ndarray, State]]

_ENDINGS = {"onnx": onnx_file.ENDINGS, "openvino": openvino_file.ENDINGS}
_PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}


def export_continual(source: Origin, subnet: Subnet, name: str, path: StrPath) -> Written:
    """Exports one sub-network in continual form, and compares it with the torch network.

    Args:
        source: :class:`~mutualvideo.export.origin.Origin`.
        subnet: a sub-network of its table, with a row in continual form.
        name: ``onnx`` or ``openvino``.
        path: of the file, with the format's ending.

    Returns:
        :class:`~mutualvideo.export.subnet_file.Written`.

    Raises:
        InputError: if the sub-network is not in the table, has no row in continual form or was
            never calibrated, the rows are not the table's, the network has no continual form, a
            package is missing or the file cannot be written.
        DifferenceError: if it answers differently; nothing is left of it.
    """
    require_one_of(_PACKAGES, name, "networks in continual form")
    source.row(subnet)
    rows, statistics = stream_rows(source.table)
    row = rows[subnet]
    source = replace(source, model=continual_network(source.model, statistics))
    graph = StepGraph(source.network(subnet), subnet).eval()
    about = as_text(_describe(source, row, graph, _PACKAGES[name]))

    def write(file: Path) -> Difference:
        {"onnx": _write_onnx, "openvino": _write_openvino}[name](graph, about, file)
        step = {"onnx": open_onnx, "openvino": open_openvino}[name](file)
        return _compare(source, subnet, step)

    return write_staged(subnet, name, path, _ENDINGS[name], write)


def start_of(shapes: Mapping[str, Any], batch: int = 1) -> State:
    """The state of streams that have seen no frame, for an exported file.

    Args:
        shapes: ``state`` of the file's metadata: ``{key: shape}``, the batch left out.
        batch: how many streams.
    """
    state = {key: np.zeros((batch, *shape), np.float32) for key, shape in shapes.items()}
    state["count"] = np.zeros(batch, np.int64)
    state["end"] = np.full(batch, ENDLESS, np.int64)
    return state


def open_onnx(path: Path) -> Step:
    """The step of a file of format ``onnx``, by ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    keys = [one.name.removeprefix("next.") for one in session.get_outputs()][1:]

    def step(frame: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        given = {f"state.{key}": value for key, value in state.items()}
        logits, *after = session.run(None, {"frame": frame, **given})
        return logits, dict(zip(keys, after, strict=True))

    return step


def open_openvino(path: Path) -> Step:
    """The step of a file of format ``openvino``, in fp32 on the CPU."""
    from mutualvideo.backends.openvino import core

    how = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    model = core().read_model(path)
    keys = ("count", "end", *json.loads(model.get_rt_info(KEY).value)["state"])
    request = core().compile_model(model, "CPU", how).create_infer_request()

    def step(frame: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        # By their order: a frame that is merely handed on has one name, not two.
        request.infer(dict(enumerate([frame, *(state[key] for key in keys)])))
        logits, *after = (np.array(request.get_output_tensor(n).data) for n in range(1 + len(keys)))
        return logits, dict(zip(keys, after, strict=True))

    return step


def _describe(
    source: Origin, row: ContinualRow, graph: StepGraph, packages: tuple[str, ...]
) -> dict[str, Any]:
    subnet = row.subnet
    model = ContinualNetwork(graph.network, subnet.frames, subnet.size)
    return {
        **source.describe(subnet, packages),
        "continual": True,
        "macs": model.macs(),
        "top1": row.top1,
        "window": model.window,
        "delay": model.delay,
        "memory": model.memory,
        "state": {key: list(shape) for key, shape in model.shapes().items()},
        "input": "frame",
    }


def _write_onnx(graph: StepGraph, about: str, path: Path) -> None:
    import onnx

    model = onnx.load_model_from_string(step_to_onnx(graph))
    onnx.helper.set_model_props(model, {KEY: about})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


@torch.no_grad()
def _write_openvino(graph: StepGraph, about: str, path: Path) -> None:
    import openvino

    example = graph.example(1)
    model = openvino.convert_model(trace(graph, example))
    model.reshape({port: [-1, *t.shape[1:]] for port, t in zip(model.inputs, example, strict=True)})
    model.set_rt_info(about, KEY)
    openvino.save_model(model, path, compress_to_fp16=False)


@torch.no_grad()
def _compare(source: Origin, subnet: Subnet, step: Step) -> Difference:
    """Streams of pictures and noise, each frame's answer, and what comes after their end."""
    model = ContinualNetwork(source.model, subnet=subnet)
    data = source.cfg.DATA
    clips = probes(model.window, model.size, data.MEAN, data.STD)[[2, 3, 5]]
    state, mine = model.start(len(clips)), start_of(model.shapes(), len(clips))
    apart = scores = 0.0
    for number in range(model.window + model.delay):
        frame = np.ascontiguousarray(clips[:, :, min(number, model.window - 1)])
        if number == model.window:
            state, mine = model.ended(state), {**mine, "end": mine["count"]}
        wanted, state = model.step(torch.from_numpy(frame), state)
        found, mine = step(frame, mine)
        both = [torch.from_numpy(found), wanted]
        apart = max(apart, float((both[0] - both[1]).abs().max()))
        a, b = (logits.softmax(1) for logits in both)
        scores = max(scores, float((a - b).abs().max()))
        # Not the other way round: NaN is below nothing.
        if not (scores <= TOLERANCE and bool((both[0] - both[1]).isfinite().all())):
            raise DifferenceError(
                f"sub-network {subnet}: the exported file differs from the torch network at frame "
                f"{number}: scores by {scores:.1e}; it is not kept"
            )
    return Difference(scores, apart, len(clips))
