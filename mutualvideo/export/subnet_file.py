"""One sub-network as one file of another runtime (or two, where the format has two)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mutualvideo.errors import InputError
from mutualvideo.export.formats import get_format
from mutualvideo.export.origin import Origin
from mutualvideo.export.parity import compare
from mutualvideo.export.staging import place, staging
from mutualvideo.files import StrPath
from mutualvideo.subnet import Subnet


@dataclass(frozen=True)
class Written:
    """What was exported.

    Args:
        subnet: the sub-network.
        format: name of the format.
        files: list of ``pathlib.Path``, the one to open first.
        difference: from the torch network, a :class:`Difference`; of a detector
            :class:`~mutualvideo.export.detector_file.BoxDifference`.
        nbytes: size of the files.
    """

    subnet: Subnet
    format: str
    files: list
    difference: object
    nbytes: int

    def __str__(self) -> str:
        size = f"{self.nbytes / 2**20:.1f} MiB"
        return f"{self.subnet!s:<13}  {self.format}  {size:>9}  difference: {self.difference}"


def write_checked(source: Origin, subnet: Subnet, name: str, path: Path) -> Written:
    """Writes ``path``, opens it again and compares; returns :class:`Written`.

    Raises:
        InputError, DifferenceError: see :func:`export_subnet`; the files stay where they are.
    """
    module = get_format(name)
    files = [path.with_suffix(ending) for ending in module.ENDINGS]
    source.row(subnet)
    module.write(source, subnet, path)
    difference = compare(source, subnet, module.load(source, subnet, path))
    nbytes = sum(file.stat().st_size for file in files)
    return Written(subnet, name, files, difference, nbytes)


def export_subnet(source: Origin, subnet: Subnet, name: str, path: StrPath) -> Written:
    """Exports one sub-network.

    The file is written to a temporary folder beside ``path``, opened from there in the runtime
    that reads it and compared with the sliced torch network, and only then moved to ``path``.

    Args:
        source: :class:`~mutualvideo.export.origin.Origin`.
        subnet: a sub-network of its table.
        name: one of ``FORMATS``.
        path: of the file, with the format's ending.

    Returns:
        :class:`Written`.

    Raises:
        InputError: if the sub-network is not in the table or was never calibrated, a package is
            missing, the format cannot express it, or the file cannot be written.
        DifferenceError: if it answers differently; nothing is left of it.
    """
    return write_staged(
        subnet,
        name,
        path,
        get_format(name).ENDINGS,
        lambda file: write_checked(source, subnet, name, file).difference,
    )


def write_staged(
    subnet: Subnet,
    name: str,
    path: StrPath,
    endings: Sequence[str],
    write: Callable[[Path], object],
) -> Written:
    """Writes files beside ``path``, and moves them there when they are right.

    Args:
        subnet, name, path: see :func:`export_subnet`.
        endings: of the files, that of ``path`` first.
        write: writes them by the path of the first, compares, and returns the difference.

    Raises:
        InputError: for a path of another ending or of a folder, or if it cannot be written; and
            what ``write`` raises. Nothing is left then.
    """
    path = Path(path)
    if path.suffix != endings[0]:
        raise InputError(f"{path}: a file of format {name} ends in {endings[0]}")
    if path.is_dir():
        raise InputError(f"{path}: cannot be written (it is a folder)")
    with staging(path) as folder:
        difference = write(folder / path.name)
        files = [(folder / path.name).with_suffix(ending) for ending in endings]
        nbytes = sum(file.stat().st_size for file in files)
        place(files, path.parent)
    return Written(subnet, name, [path.with_suffix(e) for e in endings], difference, nbytes)
