"""The query table: what every sub-network costs and how good it is; budget in, row out.

MutualNet (arXiv 2105.07085, section 3.3) deploys with such a table: under a budget, look
up the best width and input configuration and switch to it.
"""

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mutualvideo.errors import InputError
from mutualvideo.files import atomic_path
from mutualvideo.subnet import Subnet
from mutualvideo.table.budget import check_budget, format_cost, format_macs

FORMAT = "mutualvideo-query-table"
VERSION = 1
MACS_CONVENTION = "multiply-adds of convolutions and linear layers, one clip"

_COSTS = {"macs": "macs", "ms": "latency_ms"}
_WHOLE = {"macs": (1, 10**18), "params": (0, 10**18), "macs_per_video": (1, 10**21)}
_PERCENT = ("top1", "top5", "clip_top1", "clip_top5")
_REAL = {**dict.fromkeys(_PERCENT, (0, 100)), "latency_ms": (0, 10**9)}


@dataclass(frozen=True)
class Row:
    """One sub-network.

    Args:
        subnet: the configuration, the key of the row.
        macs: multiply-adds of one clip (convolutions and linear layers).
        params: parameters of the sub-network, a count.
        top1, top5: accuracy in percent, 0 to 100, of videos: the softmax averaged over their
            views; ``None`` where it was not evaluated.
        latency_ms: median of one clip, in milliseconds; ``None`` where it was not measured.
        clip_top1, clip_top5: the same of single views; ``None`` where it was not evaluated.
        macs_per_video: multiply-adds of all views of a video; ``None`` where their number is
            not known.

    Raises:
        InputError: if a value has the wrong type or is out of range.
    """

    subnet: Subnet
    macs: int
    params: int
    top1: float | None = None
    top5: float | None = None
    latency_ms: float | None = None
    clip_top1: float | None = None
    clip_top5: float | None = None
    macs_per_video: int | None = None

    def __post_init__(self):
        if not isinstance(self.subnet, Subnet):
            raise InputError(f"row {self.subnet!r}: subnet must be a Subnet")
        for name, limits in _WHOLE.items():
            if name != "macs_per_video" or self.macs_per_video is not None:
                self._check(name, int, "a whole number", limits)
        for name, limits in _REAL.items():
            if getattr(self, name) is not None:
                self._check(name, (int, float), "a number or null", limits)

    def _check(self, name, types, wanted, limits):
        value, (low, high) = getattr(self, name), limits
        # The comparison is also what refuses NaN.
        good = isinstance(value, types) and not isinstance(value, bool) and low <= value <= high
        if not good:
            raise InputError(
                f"row {self.subnet}: {name} must be {wanted} from {low} to {high}, got {value!r}"
            )


class QueryTable:
    """Rows of costs and accuracies, one per sub-network.

    Args:
        rows: ``Row`` objects; no sub-network twice.
        metadata: what holds for the whole table, as JSON values. The keys in use are
            ``model``, ``dataset``, ``videos`` (how many were evaluated), ``expected`` (how many
            the list holds), ``manifest`` and ``fingerprint`` (of the list and the checkpoint,
            see ``mutualvideo.table.fingerprint``), ``views``, ``macs`` (how they are counted),
            ``device``, ``checkpoint`` and ``statistics`` (paths relative to the table's folder)
            and ``classes`` (names by label).

    Raises:
        InputError: if a sub-network comes twice.
    """

    def __init__(self, rows, metadata=None):
        self.rows = tuple(rows)
        self.metadata = {"macs": MACS_CONVENTION, **(metadata or {})}
        # Folder of the file the table came from or went to; paths in metadata start here.
        self.folder = None
        self._by_subnet = {}
        for row in self.rows:
            if row.subnet in self._by_subnet:
                raise InputError(f"row {row.subnet}: this sub-network is in the table twice")
            self._by_subnet[row.subnet] = row

    def __len__(self):
        return len(self.rows)

    def __iter__(self):
        return iter(self.rows)

    def __getitem__(self, subnet):
        """The row of a sub-network; InputError if there is none."""
        try:
            return self._by_subnet[subnet]
        except KeyError:
            known = ", ".join(str(row.subnet) for row in self.rows)
            raise InputError(f"sub-network {subnet} is not in the table; it has {known}") from None

    def best(self, macs=None, ms=None):
        """The most accurate row within a budget.

        Args:
            macs: multiply-adds of one clip, or
            ms: latency of one clip in milliseconds; exactly one of the two.

        Returns:
            The ``Row`` with the highest top-1; among equals the one with fewer MACs. In a
            table of costs alone, the row with the most MACs.

        Raises:
            InputError: if not exactly one budget is given, if it is below the cheapest row
                (which is named), if some rows lack the column asked for.
        """
        kind, budget = check_budget(macs, ms)
        cost = self._costs(kind)
        rows = [row for row in self.rows if cost[row.subnet] <= budget]
        if not rows:
            cheapest = min(self.rows, key=lambda row: cost[row.subnet])
            raise InputError(
                f"budget of {format_cost(kind, budget)} is below the cheapest sub-network, "
                f"{cheapest.subnet} at {format_cost(kind, cost[cheapest.subnet])}"
            )
        if self._has_accuracy():
            return max(rows, key=lambda row: (row.top1, -row.macs, -cost[row.subnet]))
        return max(rows, key=lambda row: (row.macs, -cost[row.subnet]))

    def pareto(self, cost="macs"):
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
        front, best, best_cost = [], -1.0, None
        for row in sorted(self.rows, key=lambda row: (costs[row.subnet], -row.top1)):
            # Rows equal in both do not beat each other.
            if row.top1 > best or (row.top1 == best and costs[row.subnet] == best_cost):
                front.append(row)
                best, best_cost = row.top1, costs[row.subnet]
        return front

    def path_of(self, key):
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
            raise InputError(f"query table: metadata {key!r} must be a path, got {name!r}")
        if self.folder is None and not Path(name).is_absolute():
            raise InputError(f"query table: {key} {name} is relative to a file: load it from one")
        return Path(self.folder or "") / name

    def _costs(self, kind):
        if kind not in _COSTS:
            raise InputError(f"cost {kind!r}: expected 'macs' or 'ms'")
        if not self.rows:
            raise InputError("the query table has no rows")
        costs = {row.subnet: getattr(row, _COSTS[kind]) for row in self.rows}
        for subnet, value in costs.items():
            if value is None:
                raise InputError(
                    f"row {subnet} has no latency: measure it (TABLE.LATENCY True) "
                    "or give the budget in MACs"
                )
        return costs

    def _has_accuracy(self):
        """Whether every row has top-1; some with and some without cannot be ranked."""
        missing = [row for row in self.rows if row.top1 is None]
        if missing and len(missing) < len(self.rows):
            raise InputError(
                f"row {missing[0].subnet} has no top1 and others do: evaluate it or remove it"
            )
        return bool(self.rows) and not missing

    def _marked(self):
        """Sub-networks on the Pareto front, or none while accuracy is incomplete."""
        if any(row.top1 is None for row in self.rows) or not self.rows:
            return set()
        return {row.subnet for row in self.pareto()}

    def save_json(self, path):
        """Writes the table, atomically.

        Raises:
            InputError: if the file cannot be written or metadata is not JSON.
        """
        rows = [{**asdict(row), "subnet": str(row.subnet)} for row in self.rows]
        content = {"format": FORMAT, "version": VERSION, "metadata": self.metadata, "rows": rows}
        try:
            text = json.dumps(content, indent=1, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: metadata cannot be written as JSON ({error})") from error
        with atomic_path(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        self.folder = Path(path).parent

    @classmethod
    def load_json(cls, path):
        """Reads a table that ``save_json`` wrote.

        Raises:
            InputError: if the file is missing, is not such a table, or a row or field is
                wrong; file and row are named.
        """
        try:
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: is not a JSON file ({error})") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise InputError(f'{path}: is not a query table (no "format": "{FORMAT}")')
        version = content.get("version")
        if type(version) is not int or version != VERSION:
            raise InputError(
                f"{path}: has version {version!r}, this release reads {VERSION}: make it anew"
            )
        if not isinstance(content.get("metadata"), dict):
            raise InputError(f"{path}: metadata must be an object")
        if not isinstance(content.get("rows"), list):
            raise InputError(f"{path}: rows must be a list")
        rows = []
        for number, fields in enumerate(content["rows"], 1):
            try:
                rows.append(_row_from_json(fields))
            except InputError as error:
                raise InputError(f"{path}: row {number}: {error}") from None
        try:
            table = cls(rows, content["metadata"])
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        table.folder = Path(path).parent
        return table

    def save_csv(self, path):
        """Writes one line per row (accuracy in percent, latency in ms, Pareto as 0 or 1)."""
        marked = self._marked()
        with atomic_path(path) as temporary:
            with open(temporary, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(
                    ["subnet", "width", "frames", "size", "macs", "params"]
                    + ["top1", "top5", "latency_ms", "pareto"]
                    + ["clip_top1", "clip_top5", "macs_per_video"]
                )
                for row in self.rows:
                    subnet = row.subnet
                    writer.writerow(
                        [subnet, f"{subnet.width:g}", subnet.frames, subnet.size, row.macs]
                        + [row.params, row.top1, row.top5, row.latency_ms, int(subnet in marked)]
                        + [row.clip_top1, row.clip_top5, row.macs_per_video]
                    )

    def to_text(self):
        """The table for a terminal, cheapest row first, Pareto rows (by MACs) marked ``*``."""
        marked = self._marked()
        lines = [("", "sub-network", "MACs", "params", "top-1 %", "top-5 %", "ms/clip")]
        for row in sorted(self.rows, key=lambda row: (row.macs, row.subnet.width)):
            lines.append(
                ("*" if row.subnet in marked else "", str(row.subnet))
                + (format_macs(row.macs), format_macs(row.params))
                + (_number(row.top1, 2), _number(row.top5, 2), _number(row.latency_ms, 1))
            )
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        text = []
        for line in lines:
            left = [line[column].ljust(widths[column]) for column in (0, 1)]
            right = [line[column].rjust(widths[column]) for column in range(2, len(line))]
            text.append("  ".join(left + right).rstrip())
        text.insert(1, "-" * max(len(line) for line in text))
        if marked:
            text.append("* no other row is both cheaper and at least as accurate")
        return "\n".join(text)

    def plot(self, path, title=None, overlays=(), cost="macs"):
        """Draws accuracy against cost; see ``mutualvideo.table.plot.plot_table``."""
        # matplotlib is slow to import and only needed here.
        from mutualvideo.table.plot import plot_table

        plot_table(self, path, title=title, overlays=overlays, cost=cost)


def _row_from_json(fields):
    known = list(Row.__dataclass_fields__)
    if not isinstance(fields, dict):
        raise InputError("must be an object")
    for name in fields:
        if name not in known:
            raise InputError(f"unknown field {name!r}; the fields are {', '.join(known)}")
    for name in ("subnet", "macs", "params"):
        if name not in fields:
            raise InputError(f"field {name!r} is missing")
    return Row(**{**fields, "subnet": Subnet.parse(fields["subnet"])})


def _number(value, decimals):
    return "-" if value is None else f"{value:.{decimals}f}"
