"""The rows in continual form that a query table names, held against it."""

from __future__ import annotations

from pathlib import Path

from mutualvideo.errors import InputError
from mutualvideo.table.continual_table import ContinualTable
from mutualvideo.table.fingerprint import check_content
from mutualvideo.table.query import QueryTable


def stream_rows(table: QueryTable) -> tuple[ContinualTable, Path | None]:
    """What lies beside ``table`` for streams.

    Returns:
        (the rows, the file of BatchNorm statistics that they run on, or ``None``: the clips').

    Raises:
        InputError: if the table names none, or they, or their statistics, are not those that were
            made with it.
    """
    path = table.path_of("continual")
    if path is None:
        raise InputError(
            "the query table names no continual rows: make it with TABLE.CONTINUAL True"
        )
    found = ContinualTable.load_json(path)
    mine, theirs = (one.metadata.get("fingerprint") for one in (table, found))
    if mine is not None and theirs is not None and mine != theirs:
        raise InputError(
            f"{path}: these are not the rows of the query table's checkpoint: make both anew with "
            "TABLE.CONTINUAL True"
        )
    statistics = found.statistics_beside(path)
    if statistics is not None:
        check_content(
            statistics,
            found.metadata.get("statistics_fingerprint"),
            f"these are not the statistics that {Path(path).name} was made with: make both anew "
            "with TABLE.CONTINUAL True",
        )
    return found, statistics
