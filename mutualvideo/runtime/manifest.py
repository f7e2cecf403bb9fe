"""The manifest of a folder of exported sub-networks: what lies there and how it is fed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mutualvideo.documents import read_document
from mutualvideo.errors import InputError, shown
from mutualvideo.files import StrPath, atomic_path
from mutualvideo.media_kind import takes_pictures
from mutualvideo.subnet import Subnet
from mutualvideo.table.feeding import FEEDING, feeding, is_right
from mutualvideo.table.fingerprint import fingerprint

NAME = "manifest.json"
FORMAT = "mutualvideo-exported"
VERSION = 1
TABLE = "query_table.json"
INPUT = (
    "float32 (batch, 3, frames, size, size), of pictures (batch, 3, size, size), RGB from 0 to 1, "
    "minus mean, divided by std"
)
OUTPUT = "logits, float32 (batch, classes)"

# Keys of the DATA section that running a network needs, and what they must be.
_DATA: dict[str, Any] = {"NUM_FRAMES": int, **FEEDING}


def data_section(cfg: Any) -> dict[str, Any]:
    """``{key: value}`` of what a manifest keeps of ``cfg.DATA``, as JSON values.

    ``NUM_FRAMES`` is ``None`` for networks of pictures.
    """
    return {"NUM_FRAMES": None if takes_pictures(cfg) else cfg.DATA.NUM_FRAMES, **feeding(cfg)}


@dataclass(frozen=True)
class Exported:
    """One sub-network of a folder.

    Args:
        subnet: text, ``0.63x4x112``.
        frames, size: of the clip that it takes; frames ``None``: of pictures.
        files: names in the folder, the one to open first.
        difference: ``{"scores", "logits"}``: largest differences from the torch network's.
    """

    subnet: str
    frames: int | None
    size: int
    files: list
    difference: dict


@dataclass(frozen=True)
class Manifest:
    """What a folder of exported sub-networks holds.

    Args:
        kind: the format of its models, ``openvino``, ``onnx`` or ``torch_export``.
        model: name of the network.
        num_classes: columns of the answers.
        classes: names of the classes in their order, or ``None``.
        data: see :func:`data_section`.
        rows: list of :class:`Exported`.
        sha256: ``{name: "sha256:..."}`` of every file that is read in the folder but this one.
        versions: ``{package: version}`` that the folder was written with.
        input, output: what every model takes and gives, in words.
        multi_label: videos have several labels: scores are the sigmoid of each logit.
    """

    kind: str
    model: str
    num_classes: int
    classes: list | None
    data: dict
    rows: list
    sha256: dict
    versions: dict
    input: str = INPUT
    output: str = OUTPUT
    multi_label: bool = False

    def save(self, folder: StrPath) -> None:
        """Writes ``manifest.json``."""
        content = {"format": FORMAT, "version": VERSION, **asdict(self)}
        if not self.multi_label:
            del content["multi_label"]
        with atomic_path(Path(folder) / NAME) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: StrPath) -> Manifest:
        """Reads ``manifest.json``; :meth:`verify` reads the files that it names.

        Raises:
            InputError: if it is missing, of another version, or not what was written.
        """
        path = Path(folder) / NAME
        content = read_document(path, "a manifest", FORMAT, VERSION, remedy="export it anew")
        del content["format"], content["version"]
        try:
            rows = [Exported(**row) for row in content.pop("rows")]
            found = cls(rows=rows, **content)
            found._check()
        except (KeyError, TypeError, AttributeError, InputError) as error:
            raise InputError(f"{path}: {error}: export it anew") from error
        return found

    def _check(self) -> None:
        for field in ("sha256", "versions", "data"):
            _require(isinstance(getattr(self, field), dict), f"{field} must be an object")
        for key, kind in _DATA.items():
            value: Any = self.data.get(key)
            if key == "NUM_FRAMES" and key in self.data and value is None:
                continue
            _require(is_right(value, kind), f"data: {key} is {shown(value)}")
        _require(set(self.data) == set(_DATA), f"data must have {', '.join(_DATA)} alone")
        count, names = self.num_classes, self.classes
        _require(type(count) is int and count > 0, f"num_classes is {shown(count)}")
        good = names is None or (isinstance(names, list) and len(names) == count)
        _require(good, f"classes must be null or {count} names")
        _require(isinstance(self.kind, str), f"kind is {shown(self.kind)}")
        _require(type(self.multi_label) is bool, f"multi_label is {shown(self.multi_label)}")
        for row in self.rows:
            Subnet.parse(row.subnet)
            pictures = self.data["NUM_FRAMES"] is None and row.frames is None
            for value in (row.size,) if pictures else (row.frames, row.size):
                _require(type(value) is int and value > 0, f"row {row.subnet}: bad shape")
            _require(isinstance(row.files, list) and row.files, f"row {row.subnet}: no files")
            for name in row.files:
                _require(name in self.sha256, f"row {row.subnet}: {shown(name)} has no sha256")
        for name in self.sha256:
            # Nothing outside the folder is read, whatever the manifest says.
            _require(Path(name).name == name and "\\" not in name, f"{shown(name)} is no file name")
        _require(TABLE in self.sha256, f"{TABLE} has no sha256")

    def verify(self, folder: StrPath) -> None:
        """Raises InputError, naming it, if a file is missing or is not the one exported."""
        for name, expected in self.sha256.items():
            path = Path(folder) / name
            if fingerprint(path) != expected:
                raise InputError(
                    f"{path}: is not the file that was exported (its SHA-256 differs): it is "
                    "damaged or was changed; copy the folder again or export it anew"
                )


def _require(good: object, problem: str) -> None:
    if not good:
        raise InputError(problem)
