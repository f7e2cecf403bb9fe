"""Which backends there are: the files of the room, and those that others have declared."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mutualvideo.backends.common.base import Backend, BackendKind
from mutualvideo.backends.common.over_folder import ExportedFiles, FolderBackend
from mutualvideo.errors import InputError, shown
from mutualvideo.extensions import load_entry_points, load_extensions

if TYPE_CHECKING:
    from torch import nn

    from mutualvideo.backends.common.over_network import NetworkBackend

_ROOM = "mutualvideo.backends"


@functools.cache
def _import_room() -> None:
    room = importlib.import_module(_ROOM)
    for found in pkgutil.iter_modules(room.__path__):
        importlib.import_module(f"{_ROOM}.{found.name}")


def _declared() -> dict[str, type[BackendKind]]:
    """{name: kind} of all that was imported; those that need no extra first."""
    _import_room()
    load_entry_points()
    kinds = sorted(BackendKind.declared.values(), key=lambda kind: (bool(kind.extra), kind.name))
    return {kind.name: kind for kind in kinds}


def backend_names() -> tuple[str, ...]:
    """What ``backend=`` takes for a torch network."""
    return tuple(name for name, kind in _declared().items() if kind.takes_network)


def featuring_backends() -> tuple[str, ...]:
    """Those of :func:`backend_names` that give features beside scores."""
    return tuple(n for n, kind in _declared().items() if kind.takes_network and kind.gives_features)


def exported_formats() -> tuple[str, ...]:
    """The formats of exported files that some backend opens."""
    return tuple(dict.fromkeys(form for kind in _declared().values() for form in kind.formats))


def opening_kinds(form: str) -> list[type[BackendKind]]:
    """The backends that open exported files of a format, the one that is made for it first."""
    able = [kind for kind in _declared().values() if form in kind.formats]
    return sorted(able, key=lambda kind: kind.formats.index(form))


def backend_kind(name: str) -> type[BackendKind]:
    """The :class:`~mutualvideo.backends.BackendKind` called ``name``.

    Args:
        name: of a file of this room, of a class of another module that was imported (see
            :mod:`mutualvideo.extensions`), or ``module:Class`` or ``path/to/file.py:Class``.

    Raises:
        InputError: if there is none, or it cannot be imported.
    """
    kinds = _declared()
    if name in kinds:
        return kinds[name]
    module, colon, attribute = name.rpartition(":")
    if not colon:
        raise InputError(f"backend {name!r}: expected one of {', '.join(backend_names())}")
    try:
        load_extensions([module], "what it names")
        imported = sys.modules[Path(module).stem if module.endswith(".py") else module]
        kind = getattr(imported, attribute)
    except (InputError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"backend {name!r}: cannot be imported ({reason})") from error
    if not isinstance(kind, type) or kind not in BackendKind.declared.values():
        raise InputError(
            f"backend {name!r}: is no subclass of mutualvideo.backends.BackendKind with a name"
        )
    return kind


def make_backend(
    name: str,
    model: nn.Module,
    device: str | None = None,
    precision: str = "fp32",
    threads: int | None = None,
) -> NetworkBackend:
    """The backend called ``name`` over a slimmable network.

    Args:
        name: one of :func:`backend_names`, or another that :func:`backend_kind` takes.

            - ``torch``: the network itself, switched in place; one copy of the weights.
            - ``torch-extracted``: sub-networks cut out, BatchNorm folded.
            - ``torch-compiled``: these through ``torch.compile``.
            - ``torch-cudagraph``: these as CUDA graphs; CUDA only.
            - ``openvino``, ``onnxruntime``: these converted.
        model: a slimmable network; torch backends move it to ``device``, the others to the CPU.
        device: ``"cpu"``, ``"cuda"``...; ``None``: for torch CUDA where there is one, else the
            CPU.
        precision: ``fp32``, ``bf16`` or ``fp16``, of the arithmetic; scores are float32.
        threads: of the CPU, at least 1, for ``openvino`` and ``onnxruntime``; ``None``: as many
            as torch uses. The others compute with torch's threads.

    Returns:
        :class:`~mutualvideo.backends.Backend`.

    Raises:
        InputError: if there is no such backend, device or precision, a package is missing, or
            the backend cannot be given a number of threads.
    """
    kind = backend_kind(name)
    if not kind.takes_network:
        raise InputError(
            f"backend {name!r}: runs only exported files; "
            f"for a checkpoint, expected one of {', '.join(backend_names())}"
        )
    # Imported here: a machine that runs exported files may not have torch.
    from mutualvideo.backends.common.over_network import NetworkBackend

    return NetworkBackend(_made(kind, device, precision, threads), model)


def open_exported(
    folder: str | Path,
    manifest: ExportedFiles,
    device: str | None = None,
    precision: str = "fp32",
    name: str | None = None,
    threads: int | None = None,
) -> Backend:
    """The backend that runs a folder that ``tools/export.py --folder`` wrote.

    Args:
        folder: where the files lie; their checksums are not looked at here.
        manifest: what lies there, a :class:`~mutualvideo.runtime.manifest.Manifest`.
        device, precision: as in :func:`make_backend`.
        name: of the backend; ``None``: the one that is made for the folder's format.
        threads: as in :func:`make_backend`; ``None``: the backend's choice.

    Raises:
        InputError: if the backend does not run this format, is not installed, or cannot be
            given a number of threads.
    """
    form = manifest.kind
    able = opening_kinds(form)
    if name is None and not able:
        known = ", ".join(exported_formats())
        raise InputError(f"{folder}: holds {form!r} models, expected one of {known}")
    chosen = able[0] if name is None else _opening(name)
    if chosen is None or form not in chosen.formats:
        names = " and ".join(kind.name for kind in able)
        raise InputError(f"backend {name!r}: {folder} holds {form} models, which {names} can run")
    return FolderBackend(_made(chosen, device, precision, threads), Path(folder), manifest)


def _opening(name: str) -> type[BackendKind] | None:
    """The kind called ``name``; ``None`` rather than an error if there is no such name."""
    known = name in _declared() or ":" in name
    return backend_kind(name) if known else None


def _made(
    kind: type[BackendKind], device: str | None, precision: str, threads: int | None
) -> BackendKind:
    """An object of ``kind`` that was given ``threads``, if any, and can keep to them."""
    if threads is None:
        return kind(device, precision)
    if type(threads) is not int or threads < 1:
        raise InputError(f"threads {shown(threads)}: must be an integer of at least 1")
    if not kind.takes_threads:
        able = ", ".join(name for name, other in _declared().items() if other.takes_threads)
        how = (
            f"; torch has one number for the whole process: call torch.set_num_threads({threads}) "
            f"or start it with OMP_NUM_THREADS={threads}"
        )
        raise InputError(
            f"threads {threads}: backend {kind.name!r} cannot be given a number of its own, only "
            f"{able} can{how if 'torch' in kind.packages else ''}"
        )
    made = kind(device, precision, threads)
    if made.device.lower() != "cpu":
        raise InputError(f"threads {threads}: are the CPU's, and the device is {made.device}")
    return made
