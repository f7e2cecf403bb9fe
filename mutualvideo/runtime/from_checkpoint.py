"""From a checkpoint and its query table to a backend. The part of the runtime that needs torch."""

from __future__ import annotations

from typing import Any

from torch import nn

from mutualvideo.backends import make_backend
from mutualvideo.backends.common.over_network import NetworkBackend
from mutualvideo.errors import InputError
from mutualvideo.files import StrPath
from mutualvideo.media_kind import takes_pictures
from mutualvideo.models import load_model
from mutualvideo.slim import load_statistics, set_subnet, set_width, slim_state
from mutualvideo.table.feeding import fed_as
from mutualvideo.table.fingerprint import check_content
from mutualvideo.table.query import QueryTable, Row


def open_network(
    checkpoint: Any,
    table: QueryTable,
    device: str | None = None,
    backend: str = "torch",
    cfg: Any = None,
    precision: str = "fp32",
    threads: int | None = None,
) -> tuple[NetworkBackend, Any]:
    """The backend that executes the rows of a table.

    Args:
        checkpoint: path of a mutualvideo checkpoint, or a slimmable network that carries its
            calibrated statistics, in which case ``cfg`` is needed.
        table: ``QueryTable``.
        device, backend, precision, threads: see :func:`~mutualvideo.backends.make_backend`.
        cfg: configuration of an already built network.

    Returns:
        ``(backend, cfg)``, the latter with the values that the table was made with, see
        :func:`~mutualvideo.table.feeding.fed_as`.

    Raises:
        InputError: if a file cannot be read, or table and checkpoint do not belong together.
    """
    built = isinstance(checkpoint, nn.Module)
    if built == (cfg is None):
        raise InputError("recognizer: give cfg with a built network, and only then")
    if built:
        model = checkpoint
    else:
        check_fingerprint(checkpoint, table)
        model, cfg = load_model(checkpoint)
    _check_rows(model, table, cfg)
    made = make_backend(backend, model, device, precision, threads)
    statistics = None if built else table.path_of("statistics")
    if statistics is not None:
        check_content(
            statistics,
            table.metadata.get("statistics_fingerprint"),
            "these are not the statistics that the query table was made with: make both anew with "
            "`mutualvideo evaluate`",
        )
        # After the move: statistics lie where the weights lie.
        load_statistics(model, statistics)
    return made, fed_as(cfg, table)


def check_fingerprint(checkpoint: StrPath, table: QueryTable) -> None:
    """Raises InputError if ``table`` was made from another checkpoint, by their content."""
    check_content(
        checkpoint,
        table.metadata.get("fingerprint"),
        "is not the checkpoint the query table was made from; make the table anew with "
        "TRAIN.ENABLE False",
    )


def _check_rows(model: nn.Module, table: QueryTable, cfg: Any) -> None:
    """Every row must be something this network can execute."""
    state = slim_state(model)
    for row in table:
        frames = row.subnet.frames
        if takes_pictures(cfg):
            if frames is not None:
                raise InputError(
                    f"query table: row {row.subnet}: this network takes pictures; is it another "
                    "network's table?"
                )
        elif frames is None or frames > cfg.DATA.NUM_FRAMES:
            raise InputError(
                f"query table: row {row.subnet}: this network takes clips of "
                f"1 to {cfg.DATA.NUM_FRAMES} frames; is it another network's table?"
            )
        check_row(model, row)
    set_width(model, state.width_range[1])


def check_row(model: nn.Module, row: Row) -> None:
    """Switches the slimmable ``model`` to a row; InputError, naming it, if that cannot be."""
    try:
        set_subnet(model, row.subnet)
    except InputError as error:
        raise InputError(f"query table: row {row.subnet}: {error}") from error
