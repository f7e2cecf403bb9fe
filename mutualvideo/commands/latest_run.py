"""The run that is meant where none is named."""

from __future__ import annotations

import sys
from pathlib import Path

from mutualvideo.errors import InputError
from mutualvideo.runtime import manifest

# Below it runs lie, unless they are sent elsewhere; or it is the one run itself.
FOLDER = "output"


def latest_run(folder: str = FOLDER) -> str:
    """The run whose query table is newest; of several it says on standard error which.

    Args:
        folder: a run's OUTPUT_DIR, or one that holds some.

    Raises:
        InputError: if there is none.
    """
    places = [Path(folder)]
    if places[0].is_dir():
        places += [place for place in places[0].iterdir() if place.is_dir()]
    runs = [place for place in places if (place / manifest.TABLE).is_file()]
    if not runs:
        raise InputError(
            f"no run with a {manifest.TABLE} in {folder}: name one by --run, the OUTPUT_DIR of a "
            "training that has ended or an exported folder"
        )
    newest = max(runs, key=lambda place: ((place / manifest.TABLE).stat().st_mtime, str(place)))
    if len(runs) > 1:
        print(f"--run {newest}: the newest of {len(runs)} runs in {folder}", file=sys.stderr)
    return str(newest)
