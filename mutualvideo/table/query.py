"""The query table: what every sub-network costs and how good it is; budget in, row out.

MutualNet (arXiv 2105.07085, section 3.3) deploys with such a table: under a budget, look
up the best width and input configuration and switch to it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mutualvideo.budget import Budget, require_of_clips
from mutualvideo.documents import read_document
from mutualvideo.errors import InputError, shown
from mutualvideo.files import StrPath, atomic_path
from mutualvideo.subnet import Subnet
from mutualvideo.table.row import RARE, Row, row_from_json
from mutualvideo.table.text import to_markdown, to_text

__all__ = ["FORMAT", "MACS_CONVENTION", "VERSION", "QueryTable", "Row"]

FORMAT = "mutualvideo-query-table"
# 2: p90 and batch latencies. Tables of version 1 lack these fields and are read.
VERSION = 2
MACS_CONVENTION = "multiply-adds of convolutions and linear layers, one clip"


class QueryTable:
    """Rows of costs and accuracies, one per sub-network.

    Args:
        rows: ``Row`` objects; no sub-network twice.
        metadata: what holds for the whole table, as JSON values. The keys in use are
            ``model``, ``dataset``, ``videos`` (how many were evaluated), ``expected`` (how many
            the list holds), ``manifest`` and ``fingerprint`` (of the list and the checkpoint,
            see ``mutualvideo.table.fingerprint``), ``views``, ``macs`` (how they are counted),
            ``latency`` (what times depend on, see ``mutualvideo.backends.common.latency``),
            ``cascades`` (path of the cascades), ``checkpoint`` and ``statistics`` (paths relative
            to the table's folder) and ``classes`` (names by label).

    Raises:
        InputError: if a sub-network comes twice.
    """

    def __init__(self, rows: Iterable[Row], metadata: Mapping[str, Any] | None = None) -> None:
        self.rows = tuple(rows)
        self.metadata = {"macs": MACS_CONVENTION, **(metadata or {})}
        # Folder of the file the table came from or went to; paths in metadata start here.
        self.folder: Path | None = None
        self._by_subnet: dict[Subnet, Row] = {}
        for row in self.rows:
            if row.subnet in self._by_subnet:
                raise InputError(f"row {row.subnet}: this sub-network is in the table twice")
            self._by_subnet[row.subnet] = row

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, subnet: Subnet | str) -> Row:
        """The row of a sub-network, or of its text; InputError if there is none."""
        subnet = Subnet.of(subnet)
        try:
            return self._by_subnet[subnet]
        except KeyError:
            known = ", ".join(str(row.subnet) for row in self.rows)
            raise InputError(f"sub-network {subnet} is not in the table; it has {known}") from None

    def best(
        self,
        budget: Budget | str | float | None = None,
        *,
        macs: float | None = None,
        ms: float | None = None,
        fps: float | None = None,
    ) -> Row:
        """The most accurate row within a budget.

        Args:
            budget: a :class:`~mutualvideo.budget.Budget`, or its text, ``"1.2G"``; or
            macs: multiply-adds of one clip, or
            ms: latency of one clip in milliseconds, or
            fps: clips per second, one after the other; exactly one of the four.

        Returns:
            The ``Row`` with the highest top-1 (mAP of videos with several labels, box AP of
            detectors); among equals the one with fewer MACs. In a table of costs alone, the row
            with the most MACs.

        Raises:
            InputError: if not exactly one budget is given, if it is one of a stream or below the
                cheapest row (which is named), if some rows lack the column asked for.
        """
        given = Budget.of(budget, macs=macs, ms=ms, fps=fps)
        require_of_clips(given)
        limit = given.per_clip
        cost = self._costs(limit.unit)
        rows = [row for row in self.rows if cost[row.subnet] <= limit.value]
        if not rows:
            cheapest = min(self.rows, key=lambda row: cost[row.subnet])
            asked = str(given) if given == limit else f"{given}, {limit} a clip,"
            least = str(Budget(limit.unit, cost[cheapest.subnet]))
            if least == str(limit):  # the same when rounded
                least += f" ({cost[cheapest.subnet]:.12g})"
            raise InputError(
                f"budget of {asked} is below the cheapest sub-network, {cheapest.subnet} at {least}"
            )
        if self._has_accuracy():
            return max(rows, key=lambda row: (row.merit or 0.0, -row.macs, -cost[row.subnet]))
        return max(rows, key=lambda row: (row.macs, -cost[row.subnet]))

    def full(self) -> Row:
        """The row that costs most: the full network, where the table has it.

        Raises:
            InputError: if the table has no rows.
        """
        if not self.rows:
            raise InputError("the query table has no rows")
        return max(self.rows, key=lambda row: row.macs)

    def pareto(self, cost: str = "macs") -> list[Row]:
        """The rows that no other row beats, cheapest first.

        A row is beaten by one that costs no more and is at least as accurate, and better
        in one of the two.

        Args:
            cost: ``"macs"`` or ``"ms"``.

        Returns:
            A list of ``Row``.

        Raises:
            InputError: if there is no accuracy, or some rows lack the column asked for.
        """
        costs = self._costs(cost)
        if not self._has_accuracy():
            raise InputError("the table has no top1: evaluate the sub-networks first")
        front: list[Row] = []
        best, best_cost = -1.0, -1.0
        # Every row has its accuracy, as was just looked at.
        ranked = [(costs[row.subnet], row.merit or 0.0, row) for row in self.rows]
        for value, top1, row in sorted(ranked, key=lambda each: (each[0], -each[1])):
            # Rows equal in both do not beat each other.
            if top1 > best or (top1 == best and value == best_cost):
                front.append(row)
                best, best_cost = top1, value
        return front

    def path_of(self, key: str) -> Path | None:
        """The file that ``metadata[key]`` names, relative to the table's folder.

        Returns:
            ``pathlib.Path``, or ``None`` if the metadata has no such key.

        Raises:
            InputError: if the path is relative and the table is not on disk.
        """
        name = self.metadata.get(key)
        if name is None:
            return None
        if not isinstance(name, str):
            raise InputError(f"query table: metadata {key!r} must be a path, got {shown(name)}")
        if self.folder is None and not Path(name).is_absolute():
            raise InputError(f"query table: {key} {name} is relative to a file: load it from one")
        return Path(self.folder or "") / name

    def _costs(self, unit: str) -> dict[Subnet, float]:
        if not self.rows:
            raise InputError("the query table has no rows")
        costs = {}
        for row in self.rows:
            cost = row.cost(unit)
            if cost is None:
                raise InputError(
                    f"row {row.subnet} has no latency: measure it (TABLE.LATENCY True) "
                    "or give the budget in MACs"
                )
            costs[row.subnet] = cost
        return costs

    def _has_accuracy(self) -> bool:
        """Whether every row has its merit; some with and some without cannot be ranked."""
        missing = [row for row in self.rows if row.merit is None]
        if missing and len(missing) < len(self.rows):
            raise InputError(
                f"row {missing[0].subnet} has no top1 and others do: evaluate it or remove it"
            )
        return bool(self.rows) and not missing

    def has_own_statistics(self) -> bool:
        """Whether a row runs on other than calibrated statistics: then there is a column of it."""
        return any(row.statistics != "calibrated" for row in self.rows)

    @property
    def is_of_detector(self) -> bool:
        """Whether a row has a detector's box AP."""
        return any(row.box_ap is not None for row in self.rows)

    @property
    def merit_name(self) -> str:
        """What its rows are compared by: ``box AP``, ``mAP`` or ``top-1``."""
        if self.is_of_detector:
            return "box AP"
        return "mAP" if any(row.mean_ap is not None for row in self.rows) else "top-1"

    def marked(self) -> set[Subnet]:
        """Sub-networks on the Pareto front, or none while accuracy is incomplete."""
        if any(row.merit is None for row in self.rows) or not self.rows:
            return set()
        return {row.subnet for row in self.pareto()}

    def _absent(self) -> list[str]:
        """Of the columns that few tables have, those that this one does not have."""
        return [name for name in RARE if all(getattr(row, name) is None for row in self.rows)]

    def save_json(self, path: StrPath) -> None:
        """Writes the table, atomically.

        Raises:
            InputError: if the file cannot be written or metadata is not JSON.
        """
        rows = [{**asdict(row), "subnet": str(row.subnet)} for row in self.rows]
        if not self.has_own_statistics():
            for row in rows:
                del row["statistics"]
        for name in self._absent():
            for row in rows:
                del row[name]
        content = {"format": FORMAT, "version": VERSION, "metadata": self.metadata, "rows": rows}
        try:
            text = json.dumps(content, indent=1, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: metadata cannot be written as JSON ({error})") from error
        with atomic_path(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        self.folder = Path(path).parent

    @classmethod
    def load_json(cls, path: StrPath) -> QueryTable:
        """Reads a table that ``save_json`` wrote.

        Raises:
            InputError: if the file is missing, is not such a table, or a row or field is
                wrong; file and row are named.
        """
        content = read_document(path, "a query table", FORMAT, VERSION, oldest=1)
        if not isinstance(content.get("metadata"), dict):
            raise InputError(f"{path}: metadata must be an object")
        if not isinstance(content.get("rows"), list):
            raise InputError(f"{path}: rows must be a list")
        rows = []
        for number, fields in enumerate(content["rows"], 1):
            try:
                rows.append(row_from_json(fields))
            except InputError as error:
                raise InputError(f"{path}: row {number}: {error}") from None
        try:
            table = cls(rows, content["metadata"])
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        table.folder = Path(path).parent
        return table

    def save_csv(self, path: StrPath) -> None:
        """Writes one line per row (accuracy in percent, latency in ms, Pareto as 0 or 1)."""
        marked, column = self.marked(), self.has_own_statistics()
        rare = [name for name in RARE if name not in self._absent()]
        with atomic_path(path) as temporary:
            with open(temporary, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(
                    ["subnet", "width", "frames", "size", "macs", "params"]
                    + ["top1", "top5", "latency_ms", "pareto"]
                    + ["clip_top1", "clip_top5", "macs_per_video"]
                    + ["latency_p90_ms", "batch_ms", "batch_p90_ms"]
                    + ["statistics"] * column
                    + rare
                )
                for row in self.rows:
                    subnet = row.subnet
                    writer.writerow(
                        [subnet, f"{subnet.width:g}", subnet.frames, subnet.size, row.macs]
                        + [row.params, row.top1, row.top5, row.latency_ms, int(subnet in marked)]
                        + [row.clip_top1, row.clip_top5, row.macs_per_video]
                        + [row.latency_p90_ms, row.batch_ms, row.batch_p90_ms]
                        + [row.statistics] * column
                        + [getattr(row, name) for name in rare]
                    )

    def to_text(self) -> str:
        """For a terminal; see ``mutualvideo.table.text``."""
        return to_text(self)

    def save_markdown(self, path: StrPath) -> None:
        """Writes the table as a Markdown page, atomically."""
        with atomic_path(path) as temporary:
            temporary.write_text(to_markdown(self), encoding="utf-8")

    def plot(
        self,
        path: StrPath,
        title: str | None = None,
        overlays: Iterable[tuple[str, Sequence[tuple[float, float]]]] = (),
        cost: str = "macs",
    ) -> None:
        """Draws accuracy against cost; see ``mutualvideo.table.plot.plot_table``."""
        # matplotlib is slow to import and only needed here.
        from mutualvideo.table.plot import plot_table

        plot_table(self, path, title=title, overlays=overlays, cost=cost)
