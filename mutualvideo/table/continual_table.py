"""The rows of a network in continual form: what a stream costs a second, and how good it is.

They stand in a file of their own beside the query table, whose metadata names it (``continual``):
a clip's cost and a second's cannot be compared, and neither can the accuracies of a clip and of
a sliding window.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass
from pathlib import Path
from typing import Any

from mutualvideo.budget import Budget, format_macs, is_positive
from mutualvideo.documents import read_document
from mutualvideo.errors import InputError, shown
from mutualvideo.files import StrPath, atomic_path
from mutualvideo.subnet import Subnet

FORMAT = "mutualvideo-continual-table"
VERSION = 1
MARK = "@continual"
_COLUMNS = ("macs", "frames_per_s", "delay", "state_bytes", "top1", "latency_ms", "threads")


@dataclass(frozen=True)
class ContinualRow:
    """One sub-network in continual form; prints as ``0.5x8x112@continual``.

    Args:
        subnet: its width, window and size.
        macs: multiply-adds of one frame that it takes.
        frames_per_s: how many it takes a second: as far apart as in its clips.
        delay: how many of its frames the answer lags.
        state_bytes: memory of one stream's state.
        top1: accuracy in percent, 0 to 100, of videos: the softmax averaged over all positions
            of the window; ``None``: it was not evaluated.
        latency_ms: median milliseconds of a frame; ``None``: it was not measured.
        threads: of the CPU, that ``latency_ms`` was measured with.

    Raises:
        InputError: if a value has the wrong type or is out of range.
    """

    subnet: Subnet
    macs: int
    frames_per_s: float
    delay: int
    state_bytes: int
    top1: float | None = None
    latency_ms: float | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.subnet, Subnet) or self.subnet.frames is None:
            raise InputError(f"row {shown(self.subnet)}: subnet must be one that takes clips")
        whole = {"macs": 1, "delay": 0, "state_bytes": 0, "threads": 1}
        for name, least in whole.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= 10**18:
                raise InputError(
                    f"row {self}: {name} must be a whole number from {least}, got {shown(value)}"
                )
        if not is_positive(self.frames_per_s):
            raise InputError(
                f"row {self}: frames_per_s must be above 0, got {shown(self.frames_per_s)}"
            )
        for name, most in (("top1", 100), ("latency_ms", 10**9)):
            value = getattr(self, name)
            number = type(value) in (int, float)
            if value is not None and not (number and 0 <= value <= most):
                raise InputError(
                    f"row {self}: {name} must be from 0 to {most} or null, got {shown(value)}"
                )

    def __str__(self) -> str:
        return f"{self.subnet}{MARK}"

    def cost(self, unit: str) -> float | None:
        """Of a second of the stream, ``"macs_per_s"`` or ``"core"``; ``None``: not measured.

        Raises:
            InputError: for another unit.
        """
        if unit == "macs_per_s":
            return self.macs * self.frames_per_s
        if unit == "core":
            ms = self.latency_ms
            return None if ms is None else ms * self.threads * self.frames_per_s / 1000
        raise InputError(
            "continual: a stream's budget is in multiply-adds a second (2G/s) or cores (0.3core)"
        )


class ContinualTable:
    """Rows in continual form, one per sub-network; ``metadata`` as in a ``QueryTable``."""

    def __init__(
        self, rows: Iterable[ContinualRow], metadata: Mapping[str, Any] | None = None
    ) -> None:
        self.rows, self.metadata = tuple(rows), dict(metadata or {})
        self._by_subnet: dict[Subnet, ContinualRow] = {}
        for row in self.rows:
            if row.subnet in self._by_subnet:
                raise InputError(f"continual table: {row} is in it twice")
            self._by_subnet[row.subnet] = row

    def __iter__(self) -> Iterator[ContinualRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, subnet: Subnet | str) -> ContinualRow:
        """The row of a sub-network, or of its name; InputError if there is none."""
        if isinstance(subnet, str):
            subnet = Subnet.parse(subnet.removesuffix(MARK))
        if subnet not in self._by_subnet:
            known = ", ".join(map(str, self.rows))
            raise InputError(f"{subnet}{MARK} is not in the continual table; it has {known}")
        return self._by_subnet[subnet]

    def best(self, budget: Budget | str) -> ContinualRow:
        """The most accurate row within a budget of a second; among equals the cheapest.

        Where not all rows were evaluated, the dearest counts as the best.

        Raises:
            InputError: if it is below the cheapest row, in another unit, or not measured.
        """
        limit = Budget.of(budget)
        costs: dict[Subnet, float] = {}
        for row in self.rows:
            cost = row.cost(limit.unit)
            if cost is None:
                raise InputError(f"row {row} has no latency: give the budget in multiply-adds")
            costs[row.subnet] = cost
        if not costs:
            raise InputError("the continual table has no rows")
        rows = [row for row in self.rows if costs[row.subnet] <= limit.value]
        if not rows:
            cheapest = min(self.rows, key=lambda row: costs[row.subnet])
            raise InputError(
                f"budget of {limit} is below the cheapest row, {cheapest} at "
                f"{Budget(limit.unit, costs[cheapest.subnet])}"
            )
        if all(row.top1 is not None for row in self.rows):
            return max(rows, key=lambda row: (row.top1 or 0.0, -costs[row.subnet]))
        return max(rows, key=lambda row: costs[row.subnet])

    def save_json(self, path: StrPath) -> None:
        """Writes the table, atomically."""
        rows = [{**asdict(row), "subnet": str(row)} for row in self.rows]
        content = {"format": FORMAT, "version": VERSION, "metadata": self.metadata, "rows": rows}
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def save_csv(self, path: StrPath) -> None:
        """Writes the rows as CSV, the cheapest first; what was not measured is left empty."""
        with (
            atomic_path(path) as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as file,
        ):
            lines = csv.writer(file)
            lines.writerow(["row", "macs_per_s", *_COLUMNS])
            for row in sorted(self.rows, key=lambda row: row.macs * row.frames_per_s):
                cells = (getattr(row, column) for column in _COLUMNS)
                lines.writerow([row, round(row.macs * row.frames_per_s), *cells])

    @classmethod
    def load_json(cls, path: StrPath) -> ContinualTable:
        """Reads a table that ``save_json`` wrote.

        Raises:
            InputError: naming file and row, if it is not such a table.
        """
        content = read_document(path, "a continual table", FORMAT, VERSION)
        rows, metadata = content.get("rows"), content.get("metadata")
        if not isinstance(rows, list) or not isinstance(metadata, dict):
            raise InputError(f"{path}: expected rows, a list, and metadata, an object")
        found = []
        for number, fields in enumerate(rows, 1):
            try:
                found.append(_row(fields))
            except InputError as error:
                raise InputError(f"{path}: row {number}: {error}") from None
        try:
            return cls(found, metadata)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def statistics_beside(self, path: StrPath) -> Path | None:
        """The file of BatchNorm statistics that ``metadata["statistics"]`` names.

        Args:
            path: of this table's file, in whose folder it is.

        Raises:
            InputError: if the metadata names something else than a file.
        """
        name = self.metadata.get("statistics")
        if name is None:
            return None
        if not isinstance(name, str):
            raise InputError(f"{path}: metadata 'statistics' must be a path, got {shown(name)}")
        return Path(path).parent / name

    def to_markdown(self) -> str:
        """A Markdown table, the cheapest row first."""
        lines = [
            "| row | MACs/frame | frames/s | MACs/s | delay | state MiB | top-1 % | ms/frame |"
        ]
        lines.append("|---" + "|---:" * 7 + "|")
        for row in sorted(self.rows, key=lambda row: row.macs * row.frames_per_s):
            top1, ms = (
                "-" if value is None else f"{value:.2f}" for value in (row.top1, row.latency_ms)
            )
            lines.append(
                f"| {row} | {format_macs(row.macs)} | {row.frames_per_s:.2f} | "
                f"{format_macs(row.macs * row.frames_per_s)} | {row.delay} | "
                f"{row.state_bytes / 2**20:.2f} | {top1} | {ms} |"
            )
        return "\n".join(lines) + "\n"


def _row(fields: Any) -> ContinualRow:
    if not isinstance(fields, dict):
        raise InputError("must be an object")
    key = fields.get("subnet")
    if not isinstance(key, str) or not key.endswith(MARK):
        raise InputError(f"subnet is {shown(key)}, expected such as 0.5x8x112{MARK}")
    known = ContinualRow.__dataclass_fields__
    if strange := sorted(fields.keys() - known.keys()):
        raise InputError(f"{key} has {strange[0]!r}, which is unknown")
    for name, field in known.items():
        if name not in fields and field.default is MISSING:
            raise InputError(f"{key} has no {name}")
    return ContinualRow(**{**fields, "subnet": Subnet.parse(key[: -len(MARK)])})
