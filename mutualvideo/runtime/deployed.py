"""A folder of exported sub-networks instead of a checkpoint. Does not import torch itself."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mutualvideo.backends import Backend, open_exported
from mutualvideo.errors import InputError
from mutualvideo.files import StrPath
from mutualvideo.runtime import manifest as manifests
from mutualvideo.table.query import QueryTable


def is_folder(checkpoint: object) -> bool:
    """Whether ``checkpoint``, a path or a network, is the path of a folder."""
    return isinstance(checkpoint, (str, os.PathLike)) and os.path.isdir(checkpoint)


def open_folder(
    folder: StrPath,
    table: QueryTable | StrPath | None = None,
    device: str | None = None,
    backend: str | None = None,
    precision: str = "fp32",
    threads: int | None = None,
) -> tuple[Backend, Any, QueryTable]:
    """What ``tools/export.py --folder`` wrote, ready to run.

    Args:
        folder: path. Every file in it is compared with its checksum.
        table: ``QueryTable`` or path of one to use instead of the folder's, such as one with
            latencies of this machine; its rows must all be in the folder.
        device, backend, precision, threads: see
            :func:`~mutualvideo.backends.open_exported`.

    Returns:
        ``(backend, cfg, table)``; ``cfg`` has what the runtime reads of a configuration: the
        ``DATA`` keys of :func:`~mutualvideo.runtime.manifest.data_section` and
        ``MODEL.NUM_CLASSES``; ``MODEL.ARCH`` is ``2d`` for networks of pictures.

    Raises:
        InputError: if it is no such folder, a file is damaged, or the backend cannot run it.
    """
    folder = Path(folder)
    manifest = manifests.Manifest.load(folder)
    manifest.verify(folder)
    table = folder / manifests.TABLE if table is None else table
    table = table if isinstance(table, QueryTable) else QueryTable.load_json(table)
    made = open_exported(folder, manifest, device, precision, backend, threads)
    for row in table:
        made.check(row.subnet)
    cfg = SimpleNamespace(
        DATA=SimpleNamespace(**manifest.data, MULTI_LABEL=manifest.multi_label),
        MODEL=SimpleNamespace(
            NUM_CLASSES=manifest.num_classes,
            # What takes_pictures() goes by.
            ARCH="2d" if manifest.data["NUM_FRAMES"] is None else "3d",
        ),
    )
    return made, cfg, table


def locate(
    run: StrPath | None, checkpoint: Any = None, table: QueryTable | StrPath | None = None
) -> tuple[Any, QueryTable | StrPath | None]:
    """What to open for a folder, and for ``--checkpoint`` and ``--table`` of a command line.

    Args:
        run: a run's OUTPUT_DIR, or a folder of exported sub-networks; ``None`` if both others
            are given.
        checkpoint, table: paths that take precedence over what lies in ``run``; the table may
            be a ``QueryTable``.

    Returns:
        ``(checkpoint, table)`` as :class:`~mutualvideo.runtime.AdaptiveRecognizer` takes them.

    Raises:
        InputError: if ``run`` is neither, the table cannot be read, or nothing names a
            checkpoint.
    """
    if checkpoint is None and run is not None and (Path(run) / manifests.NAME).is_file():
        return run, table
    if run is None and (checkpoint is None or table is None):
        raise InputError("give --run, or both --checkpoint and --table")
    if table is None:
        assert run is not None  # see above
        table = Path(run) / manifests.TABLE
        if not os.path.exists(run):
            raise InputError(
                f"{run}: no such folder, so that there is no {table}: name the OUTPUT_DIR of a run "
                "or an exported folder"
            )
        if os.path.isdir(run) and not table.is_file():
            if any(Path(run).glob("checkpoints/*.pyth")):
                raise InputError(
                    f"{run}: a run without {manifests.TABLE} yet: `mutualvideo evaluate --run "
                    f"{run}` makes one of what is trained, `mutualvideo train` goes on with it"
                )
            raise InputError(
                f"{run}: is a folder without {manifests.NAME} and {manifests.TABLE}: name the "
                "OUTPUT_DIR of a run, a folder that `mutualvideo export --folder` "
                "wrote, or a checkpoint file"
            )
    table = table if isinstance(table, QueryTable) else QueryTable.load_json(table)
    checkpoint = checkpoint or table.path_of("checkpoint")
    if checkpoint is None:
        raise InputError("the query table names no checkpoint: give --checkpoint")
    return checkpoint, table
