"""A comparison for people and machines: a Markdown table and ``json_compare`` lines."""

import json
import math

from mutualvideo.budget import format_macs


def markdown(summary, differences):
    """The tables: accuracies by row and arm, differences, budgets, what training took."""
    head = ["sub-network", "MACs", *summary.arms]
    head += [f"{one.arm} - {one.against}" for one in differences]
    over = "runs" if summary.chance is None else "runs and test videos"
    measure = summary.measure[0].upper() + summary.measure[1:]
    lines = [
        f"{measure} in percent, mean and 95 % interval over {over}.",
        "",
        *_head(head),
    ]
    for row in summary.macs:
        cells = [row, _macs(summary, row)]
        cells += [_text(summary.accuracy(arm, row)) for arm in summary.arms]
        cells += [_signed(one.rows.get(row)) for one in differences]
        lines.append(_line(cells))
    means = [_signed(one.mean) for one in differences]
    if differences:
        lines.append(_line(["mean of these rows", "", *[""] * len(summary.arms), *means]))
    lines += _ap50(summary)
    for one in differences:
        lines += ["", f"Budget by budget, {one.arm} - {one.against}:", ""]
        lines += _head(["budget", one.arm, one.against, "difference"])
        for budget, mine, theirs, found in one.budgets:
            lines.append(_line([format_macs(budget), mine, theirs, _signed(found)]))
    lines += ["", "What one seed of each arm took to train, all its networks together:", ""]
    lines += _head(["arm", "runs", "epochs", "multiply-adds", "processor hours", "hours"])
    for arm in summary.arms:
        cost = summary.costs(arm)
        runs = max(
            found.runs for found in map(lambda r: summary.accuracy(arm, r), summary.macs) if found
        )
        hours = [f"{cost[key] / 3600:.2f}" for key in ("cpu_seconds", "wall_seconds")]
        lines.append(_line([arm, runs, cost["epochs"], f"{cost['macs']:.2e}", *hours]))
    return "\n".join(lines) + "\n"


def _macs(summary, row):
    """Of a row; from and to, where arms are other networks."""
    low, high = format_macs(summary.least_macs(row)), format_macs(summary.macs[row])
    return high if low == high else f"{low} to {high}"


def _ap50(summary):
    found = {row: [summary.ap50(arm, row) for arm in summary.arms] for row in summary.macs}
    if not any(one for cells in found.values() for one in cells):
        return []
    lines = ["", "AP50 in percent, mean and 95 % interval over runs.", ""]
    lines += _head(["sub-network", "MACs", *summary.arms])
    for row, cells in found.items():
        lines.append(_line([row, _macs(summary, row), *map(_text, cells)]))
    return lines


def _head(cells):
    return [_line(cells), _line(["---"] * len(cells))]


def _line(cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _text(found):
    if found is None:
        return ""
    if math.isnan(found.low):
        return f"{found.mean:.1f}"
    return f"{found.mean:.1f} ± {(found.high - found.low) / 2:.1f}"


def _signed(found):
    if found is None:
        return ""
    if math.isnan(found.low):
        return f"{found.mean:+.1f}"
    return f"{found.mean:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"


def json_line(difference):
    """``json_compare: {...}``: one pair of arms, for programs."""
    rows = {row: _fields(found) for row, found in difference.rows.items()}
    content = {
        "arm": difference.arm,
        "against": difference.against,
        "runs": 0 if difference.mean is None else difference.mean.runs,
        "full": next(iter(rows.values())),
        "mean": None if difference.mean is None else _fields(difference.mean),
        "rows": rows,
        "budgets": [
            {"macs": budget, "row": mine, "against": theirs, **_fields(found)}
            for budget, mine, theirs, found in difference.budgets
        ],
    }
    return f"json_compare: {json.dumps(content)}"


def _fields(found):
    ends = {"low": found.low, "high": found.high}
    ends = {key: None if math.isnan(value) else round(value, 3) for key, value in ends.items()}
    return {"difference": round(found.mean, 3), **ends}
