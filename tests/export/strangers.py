"""Runs exported files as somebody would who does not have mutualvideo, in a process of its own."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

FORMATS_OF_TORCH = ("torch_export", "pytorchvideo")


def stranger(format):
    """A process that runs :func:`answer` for files of one format, one after the other."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, spawn, initializer=without, initargs=(format,))


def without(format):
    """Neither this package nor what the format does not need can be imported here."""
    assert "mutualvideo" not in sys.modules and "torch" not in sys.modules
    sys.modules["mutualvideo"] = None
    if format not in FORMATS_OF_TORCH:
        sys.modules["torch"] = None


def answer(format, path, clips):
    """(logits of all clips together, of the first one, metadata in the file) of ``path``.

    With nothing but the runtime's own functions.
    """
    logits, about = globals()[format](str(path))
    return logits(clips), logits(clips[:1]), about


def torch_export(path):
    import torch

    extra = {"mutualvideo.json": ""}
    network = torch.export.load(path, extra_files=extra).module()
    return lambda clips: network(torch.from_numpy(clips)).numpy(), extra["mutualvideo.json"]


def onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map["mutualvideo"]
    return lambda clips: session.run(["logits"], {"clip": clips})[0], about


def openvino(path):
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    about = model.get_rt_info("mutualvideo").astype(str)
    return lambda clips: compiled({"clip": clips})["logits"], about


def pytorchvideo(path):
    import json
    import runpy

    import torch

    module = runpy.run_path(path.replace(".pth", ".py"))
    network = module["build"]()
    about = torch.load(path, weights_only=True)["mutualvideo"]

    @torch.no_grad()
    def logits(clips):
        return network(module["inputs"](torch.from_numpy(clips))).numpy()

    return logits, json.dumps(about)
