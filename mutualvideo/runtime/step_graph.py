"""A step of a network in continual form, recorded once and run by OpenVINO or ONNX Runtime."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mutualvideo.backends.common.to_runtime import trace
from mutualvideo.continual import ContinualNetwork
from mutualvideo.continual.frame_parts import State
from mutualvideo.extras import import_extra
from mutualvideo.subnet import Subnet

Execute = Callable[[Tensor, Mapping[str, Tensor]], tuple[Tensor, State]]


class StepGraph(nn.Module):
    """What is recorded: a frame and the state's tensors in, logits and the next state's out.

    Args:
        network: X3D or Slow cut out of the slimmable one, in eval mode.
        subnet: which sub-network it is.
        lean: leaves out of the outputs what the next state merely takes over from the present
            one (``moved``): two of three frames of a temporal convolution. They are as large as
            what is computed, and a runtime would copy them.
        channels_last: features (B, H, W, C) rather than (B, C, H, W), in and out.

    Attributes:
        keys: of the inputs that follow the frame.
        computed: of the outputs that follow the logits.
        moved: ``{key of the next state: key of the present one that it is}``.
    """

    def __init__(
        self, network: nn.Module, subnet: Subnet, lean: bool = False, channels_last: bool = False
    ) -> None:
        super().__init__()
        self.network, self._last = network, channels_last
        self._model = ContinualNetwork(network, subnet.frames, subnet.size, traced=True)
        self.keys = ("count", "end", *self._model.shapes())
        self.moved: dict[str, str] = {}
        if lean:
            self.moved = self._find_moved()
        self.computed = tuple(key for key in self.keys if key not in self.moved)

    def forward(self, frame: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        state = {
            key: tensor.permute(0, 3, 1, 2) if self._last and tensor.dim() == 4 else tensor
            for key, tensor in zip(self.keys, tensors, strict=True)
        }
        logits, after = self._model.step(frame, {**state, "warming": state["count"]})
        return logits, *(self._as_output(after[key]) for key in self.computed)

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """Inputs to record it with."""
        state, size = self._model.start(batch), self._model.size
        kept = (self._as_output(state[key]).contiguous() for key in self.keys)
        return torch.zeros(batch, 3, size, size), *kept

    def _as_output(self, tensor: Tensor) -> Tensor:
        return tensor.permute(0, 2, 3, 1) if self._last and tensor.dim() == 4 else tensor

    @torch.no_grad()
    def _find_moved(self) -> dict[str, str]:
        state, size = self._model.start(), self._model.size
        _, after = self._model.step(torch.zeros(1, 3, size, size), state)
        keys = {id(tensor): key for key, tensor in state.items()}
        return {key: keys[id(after[key])] for key in self.keys if id(after[key]) in keys}


def execute_openvino(network: nn.Module, subnet: Subnet, threads: int | None) -> Execute:
    """``execute`` of a :class:`~mutualvideo.continual.ContinualNetwork`, by OpenVINO in fp32.

    Features lie channels last at its borders, as torch keeps them and as its kernels want them;
    compiled for each batch by itself. Otherwise more time goes into the layout of the state than
    into the convolutions.

    Args:
        network: see :class:`StepGraph`.
        subnet: which sub-network it is.
        threads: of the CPU; ``None``: OpenVINO's choice.
    """
    return _OpenVINOStep(StepGraph(network, subnet, True, True).eval(), threads)


def execute_onnxruntime(network: nn.Module, subnet: Subnet, threads: int | None) -> Execute:
    """The same by ONNX Runtime on the CPU, whose kernels want (B, C, H, W)."""
    return _OnnxRuntimeStep(StepGraph(network, subnet, lean=True).eval(), threads)


class _OpenVINOStep:
    def __init__(self, graph: StepGraph, threads: int | None) -> None:
        import openvino

        from mutualvideo.backends.openvino import core

        self._graph, self._core, self._tensor = graph, core(), openvino.Tensor
        self._how: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads is not None:
            self._how["INFERENCE_NUM_THREADS"] = threads
        example = graph.example(1)
        with torch.no_grad():
            self._model = openvino.convert_model(trace(graph, example))
        self._shapes = [list(tensor.shape[1:]) for tensor in example]
        self._requests: dict[int, Any] = {}
        self._lock = threading.Lock()
        self._request(1)

    def __call__(self, frame: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, State]:
        graph, batch = self._graph, len(frame)
        after = {key: _empty(state[key]) for key in graph.computed}
        with self._lock:
            request = self._request(batch)
            given = [_array(frame), *(self._plain(state[key]) for key in graph.keys)]
            for number, array in enumerate(given):
                request.set_input_tensor(number, self._tensor(array, shared_memory=True))
            for number, key in enumerate(graph.computed, 1):
                found = self._tensor(self._plain(after[key]), shared_memory=True)
                request.set_output_tensor(number, found)
            request.infer()
            logits = torch.from_numpy(np.array(request.get_output_tensor(0).data))
        return logits, _with_moved(graph, after, state)

    def _request(self, batch: int) -> Any:
        if batch not in self._requests:
            model = self._model.clone()
            shapes = zip(model.inputs, self._shapes, strict=True)
            model.reshape({port: [batch, *shape] for port, shape in shapes})
            compiled = self._core.compile_model(model, "CPU", self._how)
            self._requests[batch] = compiled.create_infer_request()
        return self._requests[batch]

    def _plain(self, tensor: Tensor) -> np.ndarray:
        return _array(tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor)


class _OnnxRuntimeStep:
    def __init__(self, graph: StepGraph, threads: int | None) -> None:
        runtime = import_extra("onnxruntime", "onnx", "backend 'onnxruntime'")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        content = step_to_onnx(graph)
        self._graph, cpu = graph, ["CPUExecutionProvider"]
        self._session = runtime.InferenceSession(content, options, providers=cpu)

    def __call__(self, frame: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, State]:
        graph = self._graph
        given = {f"state.{key}": _array(state[key]) for key in graph.keys}
        logits, *found = map(
            torch.from_numpy, self._session.run(None, {"frame": _array(frame), **given})
        )
        return logits, _with_moved(graph, dict(zip(graph.computed, found, strict=True)), state)


@torch.no_grad()
def step_to_onnx(graph: StepGraph) -> bytes:
    """bytes of an ONNX model of a step; the batch is free.

    Inputs are ``frame`` and ``state.KEY``, outputs ``logits`` and ``next.KEY``.
    """
    # Two streams: a batch of one would become a constant.
    example, batch = graph.example(2), torch.export.Dim("batch")
    program = torch.onnx.export(
        graph,
        example,
        dynamic_shapes=({0: batch}, tuple({0: batch} for _ in graph.keys)),
        dynamo=True,
        input_names=["frame", *(f"state.{key}" for key in graph.keys)],
        output_names=["logits", *(f"next.{key}" for key in graph.computed)],
        external_data=False,
        verbose=False,
    )
    content = io.BytesIO()
    program.save(content)  # type: ignore[union-attr, arg-type]
    return content.getvalue()


def _empty(like: Tensor) -> Tensor:
    last = torch.channels_last if like.dim() == 4 else torch.contiguous_format
    return torch.empty(like.shape, dtype=like.dtype, memory_format=last)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _with_moved(graph: StepGraph, after: State, state: Mapping[str, Tensor]) -> State:
    return after | {key: state[before] for key, before in graph.moved.items()}
