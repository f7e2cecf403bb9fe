"""All rows worth having, their table and a manifest in one folder that the runtime executes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from mutualvideo.backends import exported_formats
from mutualvideo.errors import InputError
from mutualvideo.export import runtime_requirements as requirements
from mutualvideo.export.formats import ROWS, FormatModule, get_format
from mutualvideo.export.origin import Origin, package_versions
from mutualvideo.export.staging import staging
from mutualvideo.export.subnet_file import Written, write_checked
from mutualvideo.files import StrPath
from mutualvideo.runtime.manifest import TABLE, Exported, Manifest, data_section
from mutualvideo.table.cascade import CascadeCurve
from mutualvideo.table.fingerprint import fingerprint
from mutualvideo.table.query import QueryTable, Row

# Of the table's metadata: files that do not lie in the folder.
_LEFT_BEHIND = (
    "checkpoint",
    "statistics",
    "statistics_fingerprint",
    "cascades",
    "continual",
)
# The cascades of the sub-networks that are in the folder.
_CASCADES = "query_table.cascade.json"


def export_folder(
    source: Origin,
    name: str,
    path: StrPath,
    rows: str = "pareto",
    report: Callable[[Written], object] = print,
) -> list[Written]:
    """Exports many sub-networks as a folder for ``AdaptiveRecognizer``.

    Each is compared with the sliced torch network. The folder is written under a temporary name
    and renamed at the end. One that runs without torch also holds a ``requirements.txt``.

    Args:
        source: :class:`~mutualvideo.export.origin.Origin`.
        name: ``openvino``, ``onnx`` or ``torch_export``.
        path: of the folder; it must not be there yet.
        rows: ``pareto``: those that no other row beats, by multiply-adds or, where it was
            measured, by latency; ``all``: the whole table.
        report: called with a :class:`~mutualvideo.export.subnet_file.Written` after each.

    Returns:
        list of :class:`~mutualvideo.export.subnet_file.Written`.

    Raises:
        InputError, DifferenceError: see :func:`~mutualvideo.export.subnet_file.export_subnet`;
            nothing is left.
    """
    path = Path(path)
    if name not in exported_formats():
        raise InputError(
            f"format {name!r}: the runtime executes folders of {', '.join(exported_formats())}"
        )
    if path.exists():
        raise InputError(f"{path}: is there already: remove it or name another folder")
    module, table = get_format(name), source.table
    chosen = choose_rows(table, rows)
    # What cannot be exported is found before minutes of work, not after.
    for row in chosen:
        source.row(row.subnet)
    with staging(path) as folder:
        written = []
        for row in chosen:
            file = folder / f"{row.subnet}{module.ENDINGS[0]}"
            written.append(write_checked(source, row.subnet, name, file))
            report(written[-1])
        about = {key: v for key, v in table.metadata.items() if key not in _LEFT_BEHIND}
        if _save_cascades(table, chosen, folder / _CASCADES):
            about["cascades"] = _CASCADES
        QueryTable(chosen, about).save_json(folder / TABLE)
        _manifest(source, name, module, written, folder).save(folder)
        # After the manifest: nothing that runs reads it, and whoever installs may loosen it.
        text = requirements.requirements_text(name)
        if text is not None:
            (folder / requirements.NAME).write_text(text, encoding="utf-8")
        os.rename(folder, path)
    return written


def choose_rows(table: QueryTable, rows: str) -> list[Row]:
    """The rows of ``table`` that ``rows`` (one of ``ROWS``) means, in the table's order."""
    if rows not in ROWS:
        raise InputError(f"rows {rows!r}: expected {' or '.join(ROWS)}")
    if rows == "all":
        return list(table)
    chosen = {row.subnet for row in table.pareto()}
    if all(row.latency_ms is not None for row in table):
        chosen |= {row.subnet for row in table.pareto("ms")}
    return [row for row in table if row.subnet in chosen]


def _save_cascades(table: QueryTable, chosen: Iterable[Row], path: Path) -> bool:
    """Writes those of the table's cascades that the folder can run; whether any.

    Where one does not win, a budget goes to its single row instead.
    """
    file = table.path_of("cascades")
    if file is None:
        return False
    curve = CascadeCurve.load_json(file)
    subnets = {row.subnet for row in chosen}
    points = [
        point
        for point in curve.points
        if subnets.issuperset(point.cascade.stages) and point.static in subnets
    ]
    if points:
        CascadeCurve(points, curve.metadata).save_json(path)
    return bool(points)


def _manifest(
    source: Origin, name: str, module: FormatModule, written: Iterable[Written], folder: Path
) -> Manifest:
    rows = []
    for one in written:
        frames, size = source.shape(one.subnet)
        difference = {"scores": one.difference.scores, "logits": one.difference.logits}
        files = [file.name for file in one.files]
        rows.append(Exported(str(one.subnet), frames, size, files, difference))
    return Manifest(
        kind=name,
        model=source.cfg.MODEL.MODEL_NAME,
        num_classes=source.cfg.MODEL.NUM_CLASSES,
        classes=source.classes,
        data=data_section(source.cfg),
        rows=rows,
        sha256={file.name: fingerprint(file) for file in sorted(folder.iterdir())},
        versions=package_versions(module.PACKAGES),
        multi_label=source.cfg.DATA.MULTI_LABEL,
    )
