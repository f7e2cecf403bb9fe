"""The query table for people: a terminal, a Markdown page."""

from __future__ import annotations

from mutualvideo.budget import format_macs
from mutualvideo.table.row import Rows

# Points between top-1 and the mean over classes that are worth a column.
_TELLING = 1.0


def to_text(table: Rows) -> str:
    """The table for a terminal, cheapest row first, Pareto rows (by MACs) marked ``*``."""
    marked, lines = _cells(table)
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


def to_markdown(table: Rows) -> str:
    """The same as a Markdown table; Pareto rows in bold."""
    marked, (head, *lines) = _cells(table)
    rows = [head[1:], ["---", *["---:"] * (len(head) - 2)]]
    rows += [[f"**{cell}**" if line[0] else cell for cell in line[1:]] for line in lines]
    text = ["| " + " | ".join(row) + " |" for row in rows]
    if marked:
        text += ["", "Bold: no other row is both cheaper and at least as accurate."]
    return "\n".join(text) + "\n"


def _cells(table: Rows) -> tuple[bool, list[list[str]]]:
    """(whether rows are marked, lines of cells, the first the heads, the first cell the mark)."""
    marked = table.marked()
    batched = any(row.batch_ms is not None for row in table)
    tails = any(row.latency_p90_ms is not None for row in table)
    several = any(row.mean_ap is not None for row in table)
    # Else the classes are of different sizes and it makes no difference.
    uneven = any(
        abs(row.mean_class - (row.top1 or 0.0)) >= _TELLING
        for row in table
        if row.mean_class is not None
    )
    heads = {"box_ap": "AP %", "box_ap50": "AP50 %", "mask_ap": "mask AP %"}
    heads["mask_ap50"] = "mask AP50 %"
    found = [name for name in heads if any(getattr(row, name) is not None for row in table)]
    # A detector's rows have no top-1.
    top = ["top-1 %", *["class mean %"] * uneven, "top-5 %"] if not found else []
    head = ["", "sub-network", "MACs", "params"] + ["mAP %"] * several
    head += [heads[name] for name in found] + top + ["ms/clip"]
    column = any(row.statistics != "calibrated" for row in table)
    head += ["p90"] * tails + ["ms/batch"] * batched + ["statistics"] * column
    lines = [head]
    for row in sorted(table, key=lambda row: (row.macs, row.subnet.width)):
        line = ["*" if row.subnet in marked else "", str(row.subnet)]
        line += [format_macs(row.macs), format_macs(row.params)]
        line += [_number(row.mean_ap, 2)] * several
        line += [_number(getattr(row, name), 2) for name in found]
        if top:
            line += [_number(row.top1, 2)] + [_number(row.mean_class, 2)] * uneven
            line += [_number(row.top5, 2)]
        line += [_number(row.latency_ms, 1)]
        line += [_number(row.latency_p90_ms, 1)] * tails + [_number(row.batch_ms, 1)] * batched
        line += [row.statistics] * column
        lines.append(line)
    return bool(marked), lines


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"
