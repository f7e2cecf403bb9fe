"""Runs an exported file as somebody would who does not have mutualvideo.

    python strangers.py FORMAT PATH CLIPS.npy RESULT.npz

Writes the logits of all clips together (``together``) and of the first one (``alone``), and the
metadata that was found in the file (``about``), with nothing but the runtime's own functions.
"""

import sys

import numpy as np

sys.modules["mutualvideo"] = None


def torch_export(path):
    import torch

    extra = {"mutualvideo.json": ""}
    network = torch.export.load(path, extra_files=extra).module()
    return lambda clips: network(torch.from_numpy(clips)).numpy(), extra["mutualvideo.json"]


def onnx(path):
    sys.modules["torch"] = None
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map["mutualvideo"]
    return lambda clips: session.run(["logits"], {"clip": clips})[0], about


def openvino(path):
    sys.modules["torch"] = None
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


if __name__ == "__main__":
    format, path, clips, result = sys.argv[1:]
    logits, about = globals()[format](path)
    clips = np.load(clips)
    np.savez(result, together=logits(clips), alone=logits(clips[:1]), about=about)
