"""Packages that not everybody needs: how they are imported, and installed if they are not there."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import shlex
from pathlib import Path
from types import ModuleType

from mutualvideo.errors import InputError


def import_extra(module: str, extra: str, wanted: str) -> ModuleType:
    """The module, which ``wanted`` (``backend 'openvino'``) needs.

    Raises:
        InputError: naming the extra to install, if it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{wanted}: {module} cannot be imported ({reason}): {install_command(extra)}"
        ) from error


def install_command(extra: str) -> str:
    """The command that installs what an extra names: ``pip install 'mutualvideo[web]'``.

    From a checkout it names the checkout, from a file or a repository these: ``pip`` finds no
    package of this name elsewhere.
    """
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "setup.py").is_file():
        return f"pip install -e {shlex.quote(f'{checkout}[{extra}]')}"
    origin = _origin()
    at = f" @ {origin}" if origin else ""
    return f"pip install {shlex.quote(f'mutualvideo[{extra}]{at}')}"


def _origin() -> str | None:
    """The address that pip installed this package from; ``None``: an index, or not known."""
    try:
        text = importlib.metadata.distribution("mutualvideo").read_text("direct_url.json")
        found = json.loads(text) if text else {}
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    url = found.get("url") if isinstance(found, dict) else None
    version_control = found.get("vcs_info", {}).get("vcs") if isinstance(url, str) else None
    return f"{version_control}+{url}" if version_control else url
