"""Sub-networks as files for other runtimes: one module per format, checked before it is kept.

``formats`` lists them, ``subnet`` writes one file, ``folder`` a folder for the runtime.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "DifferenceError": "parity",
    "FORMATS": "formats",
    "Origin": "origin",
    "TOLERANCE": "parity",
    "export_folder": "deploy_folder",
    "export_subnet": "subnet_file",
    "open_origin": "origin",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    # Imported when asked for: the names of the formats are known without torch.
    if name in _PUBLIC:
        return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
