"""Who executes a sub-network: every module here is one backend, ``common`` is what they share.

Adding one is adding a file with a subclass of :class:`BackendKind`; no list names it. A module
outside of the package declares one in the same way: it is known once it was imported, as
:mod:`mutualvideo.extensions` says. A file may also be named where a backend is asked for:
``backend="my_backend.py:MyBackend"``.
"""

from mutualvideo.backends.common.base import Backend, BackendKind, Runner
from mutualvideo.backends.common.kinds import (
    backend_kind,
    backend_names,
    exported_formats,
    featuring_backends,
    make_backend,
    open_exported,
)

__all__ = [
    "Backend",
    "BackendKind",
    "Runner",
    "backend_kind",
    "backend_names",
    "exported_formats",
    "featuring_backends",
    "make_backend",
    "open_exported",
]
