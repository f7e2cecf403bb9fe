"""mutualvideo: one network, any budget. MutualNet for video (arXiv 2105.07085).

Train one slimmable network, once; execute it at any width x frames x size.
"""

from importlib import import_module
from typing import Any

from mutualvideo.moved_modules import serve_old_names

__version__ = "0.1.0"

_PUBLIC = {
    "AdaptiveDetector": "runtime.adaptive_detector",
    "AdaptiveRecognizer": "runtime",
    "Budget": "budget",
    "ClosedError": "serving.service",
    "InputError": "errors",
    "OverloadError": "serving.service",
    "Prediction": "runtime",
    "QueryTable": "table",
    "Service": "serving.service",
    "Stream": "policy.stream_plan",
    "StreamServer": "serving.stream_server",
    "Subnet": "subnet",
    "Network": "models",
    "build_model": "models",
    "calibrate": "slim",
    "count_macs": "slim",
    "extract": "slim",
    "get_cfg": "config",
    "load_cfg": "config",
    "load_extensions": "extensions",
    "load_pretrained": "models",
    "order_channels": "slim",
    "set_subnet": "slim",
    "set_width": "slim",
    "slimmable": "slim",
    "slimmable_report": "slim",
}
__all__ = sorted(_PUBLIC)
serve_old_names()


def __getattr__(name: str) -> Any:
    # Imported when asked for: a tool that needs no network should not wait for torch.
    if name in _PUBLIC:
        return getattr(import_module(f"mutualvideo.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'mutualvideo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
