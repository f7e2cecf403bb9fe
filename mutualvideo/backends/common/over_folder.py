"""Sub-networks read from a folder that ``tools/export.py --folder`` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from mutualvideo.backends.common.base import Backend, BackendKind, Runner, Shape
from mutualvideo.errors import InputError
from mutualvideo.subnet import Subnet


class ExportedFile(Protocol):
    """One sub-network of a folder; see :class:`~mutualvideo.runtime.manifest.Exported`."""

    @property
    def subnet(self) -> str: ...
    @property
    def frames(self) -> int | None: ...
    @property
    def size(self) -> int: ...
    @property
    def files(self) -> list[str]: ...


class ExportedFiles(Protocol):
    """What lies in a folder; see :class:`~mutualvideo.runtime.manifest.Manifest`."""

    @property
    def kind(self) -> str: ...
    @property
    def rows(self) -> Sequence[ExportedFile]: ...


class FolderBackend(Backend):
    """Runs the models of a folder.

    Args:
        kind: who runs them.
        folder: where they lie; their checksums are not looked at here.
        manifest: what lies there.
    """

    def __init__(self, kind: BackendKind, folder: Path, manifest: ExportedFiles) -> None:
        self.name, self.device = kind.name, kind.device
        self.folder, self.manifest, self._kind = folder, manifest, kind
        self._rows = {Subnet.parse(row.subnet): row for row in manifest.rows}

    def check(self, subnet: Subnet) -> None:
        if subnet not in self._rows:
            known = ", ".join(map(str, self._rows))
            raise InputError(f"{self.folder}: holds no sub-network {subnet}; it has {known}")

    def input_shape(self, subnet: Subnet) -> Shape:
        self.check(subnet)
        return self._rows[subnet].frames, self._rows[subnet].size

    def prepare(self, subnet: Subnet) -> Runner:
        shape = self.input_shape(subnet)
        runner = self._kind.run_file(self.folder / self._rows[subnet].files[0], subnet, shape)
        return runner.score_several(self.name) if self.several_labels else runner

    def describe(self) -> dict[str, Any]:
        return self._kind.describe()
