"""Modules that have moved since version 0.1, under the names that they had.

Programs written for it keep running: the old name gives the module that holds the same things now,
and a ``DeprecationWarning`` says where it is.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_PACKAGE = "mutualvideo."
# Old name: new name, both within the package.
MOVED = {
    "backends.base": "backends.common.base",
    "backends.convert": "backends.common.to_runtime",
    "benchmark.decode": "benchmark.decoding",
    "benchmark.gpu": "benchmark.gpu_figures",
    "benchmark.grid": "benchmark.grid_cost",
    "benchmark.images": "benchmark.picture_loading",
    "benchmark.networks": "benchmark.network_steps",
    "benchmark.resize": "benchmark.resized",
    "benchmark.runtime": "benchmark.answering",
    "benchmark.service": "benchmark.serving_batches",
    "cli": "commands.tool",
    "config.pyslowfast": "config.foreign_keys",
    "data.check": "data.prepare.check",
    "data.decode": "media",
    "data.decode.index": "media.packet_index",
    "data.decode.reader": "media.reader",
    "data.decode.with_decord": "media.with_decord",
    "data.decode.with_pyav": "media.with_pyav",
    "data.decode.with_torchcodec": "media.with_torchcodec",
    "data.frames": "media.picture_reader",
    "data.parallel": "data.prepare.jobs",
    "data.reading": "media.reading",
    "data.resize": "data.prepare.resize",
    "data.sources.layout": "data.sources.archives",
    "data.sources.pictures": "data.sources.picture_sets",
    "data.sources.registry": "data.sources.dataset_registry",
    "data.toy": "data.prepare.toy",
    "engine.checkpoint": "run.checkpoint",
    "engine.distributed": "run.distributed",
    "engine.environment": "run.environment",
    "engine.evaluate": "evaluation.evaluate",
    "engine.lock": "run.lock",
    "engine.log": "run.log",
    "engine.means": "run.reduce",
    "engine.progress": "run.progress",
    "engine.scores": "evaluation.scores",
    "engine.stopping": "run.stopping",
    "export.compare": "export.parity",
    "export.folder": "export.deploy_folder",
    "export.onnx": "export.onnx_file",
    "export.openvino": "export.openvino_file",
    "export.pytorchvideo": "export.pytorchvideo_module",
    "export.source": "export.origin",
    "export.subnet": "export.subnet_file",
    "export.torch_export": "export.program_file",
    "frames": "frame_indices",
    "models.checkpoint": "models.weights.trained",
    "models.inflate": "models.weights.inflate",
    "models.mutualnet": "models.weights.mutualnet_names",
    "models.pretrained": "models.weights.pretrained",
    "models.pyslowfast": "models.weights.pyslowfast_names",
    "models.registry": "models.model_registry",
    "models.weights_file": "models.weights.weights_file",
    "runtime.answer": "serving.answer",
    "runtime.backlog": "policy.backlog",
    "runtime.batching": "policy.batching",
    "runtime.capture": "play.capture",
    "runtime.cascade": "runtime.cascading",
    "runtime.controller": "policy.controller",
    "runtime.film": "play.film",
    "runtime.folder": "runtime.deployed",
    "runtime.live": "play.live",
    "runtime.network": "runtime.from_checkpoint",
    "runtime.overlay": "play.overlay",
    "runtime.pictures": "play.picture_player",
    "runtime.plan": "policy.stream_plan",
    "runtime.playlist": "play.playlist",
    "runtime.prepare": "runtime.preprocess",
    "runtime.scheduler": "policy.scheduler",
    "runtime.script": "policy.budget_script",
    "runtime.service": "serving.service",
    "runtime.slowdown": "policy.slowdown",
    "runtime.steps": "policy.steps",
    "runtime.stream": "play.player",
    "runtime.streams": "serving.stream_server",
    "runtime.window": "runtime.clip_window",
    "slim.clip": "slim.resampling",
    "slim.depthwise": "slim.kernels.depthwise",
    "slim.each": "slim.every_subnet",
    "slim.flops": "slim.counting.operation_costs",
    "slim.fold": "slim.kernels.fold",
    "slim.macs": "slim.counting.macs",
    "slim.memory": "slim.memory_format",
    "slim.pointwise": "slim.kernels.pointwise",
    "slim.processes": "slim.statistics.sync_norm",
    "slim.refuse": "slim.unsupported",
    "slim.trace": "slim.tracing.trace",
    "slim.twin": "slim.meta_copy",
    "table.average": "evaluation.ema_table",
    "table.board": "evaluation.board",
    "table.budget": "budget",
    "table.build": "evaluation.build",
    "table.cascade_fit": "evaluation.cascade_fit",
    "table.confusion": "evaluation.confusion",
    "table.grid": "evaluation.grid",
    "table.latency": "backends.common.latency",
    "table.results": "evaluation.results",
    "table.work": "run.resume",
    "web.clip": "web.upload",
    "web.plots": "web.svg_plots",
}


class _Moved(MetaPathFinder, Loader):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self) if new_name(name) else None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        new = new_name(old)
        assert new is not None
        warnings.warn(f"{old} is {new} now", DeprecationWarning, stacklevel=2)
        # What lies here when a module was executed is what the import gives.
        sys.modules[old] = import_module(new)


def new_name(name: str) -> str | None:
    """What the module ``name`` is called now; ``None`` if it did not move."""
    if not name.startswith(_PACKAGE):
        return None
    old = name.removeprefix(_PACKAGE)
    if old in MOVED:
        return _PACKAGE + MOVED[old]
    parent, _, child = old.rpartition(".")
    # A module of a package that moved as a whole.
    return f"{_PACKAGE}{MOVED[parent]}.{child}" if parent in MOVED else None


def serve_old_names() -> None:
    """Has old names imported; before all other finders, which would load a file twice."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Moved())
