"""The formats: what each is called, how its files end, which module writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from mutualvideo.errors import InputError
from mutualvideo.extras import import_extra
from mutualvideo.subnet import Subnet

if TYPE_CHECKING:  # they need torch, the names of the formats do not
    from mutualvideo.export.origin import Origin
    from mutualvideo.export.parity import Logits


class FormatModule(Protocol):
    """What a module that writes a format has.

    Attributes:
        ENDINGS: of its files, that of the one to open first.
        PACKAGES: that write them.
    """

    ENDINGS: tuple[str, ...]
    PACKAGES: tuple[str, ...]

    def write(self, source: Origin, subnet: Subnet, path: Path) -> None:
        """Writes the file(s) of a sub-network, metadata inside.

        Raises:
            InputError: if the format cannot express it.
        """

    def load(self, source: Origin, subnet: Subnet, path: Path) -> Logits:
        """Opens what lies there in the runtime that reads it, as a function of clips."""
        ...


# Imported when asked for: openvino and onnx are extras, and slow to import.
_MODULES = {
    "torch_export": "program_file",
    "onnx": "onnx_file",
    "openvino": "openvino_file",
    "pytorchvideo": "pytorchvideo_module",
}
FORMATS = tuple(_MODULES)
# Which rows go into a folder.
ROWS = ("pareto", "all")


def get_format(name: str) -> FormatModule:
    """The module that writes format ``name``.

    Raises:
        InputError: if there is no such format, or a package that it needs is missing.
    """
    if name not in _MODULES:
        raise InputError(f"format {name!r}: expected one of {', '.join(FORMATS)}")
    module = cast(FormatModule, import_module(f"mutualvideo.export.{_MODULES[name]}"))
    _require_packages(name, module.PACKAGES)
    return module


def require_one_of(packages: Mapping[str, Sequence[str]], name: str, what: str) -> None:
    """For what is written in fewer formats, each by packages of its own.

    Args:
        packages: ``{format: packages}``.
        name: of the format.
        what: is written, in the plural.

    Raises:
        InputError: if ``name`` is none of them, or one of its packages is missing.
    """
    if name not in packages:
        raise InputError(f"format {name!r}: {what} are written as {', '.join(packages)}")
    _require_packages(name, packages[name])


def _require_packages(name: str, packages: Sequence[str]) -> None:
    for package in packages:
        import_extra(package, name, f"format {name!r}")
