"""The packages that a folder of exported sub-networks needs to run, as a file for pip."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from mutualvideo.backends.common.kinds import opening_kinds

NAME = "requirements.txt"
# What opening a folder and answering import beside the backend; a test holds this to be true.
_ALWAYS = ("numpy", "Pillow")
_HEAD = """\
# What AdaptiveRecognizer imports to run this folder, in the versions that it was checked with (on
# Python {python}). mutualvideo itself is not listed, since it would bring torch:
#   pip install -r requirements.txt
#   pip install --no-deps mutualvideo
"""


def requirements_text(form: str) -> str | None:
    """The lines of ``requirements.txt`` for a folder of the format ``form``.

    Args:
        form: ``openvino``, ``onnx``...; the packages are those of the backend that is made for it,
            in the versions that are installed here.

    Returns:
        The text; ``None`` if that backend needs torch, for then nothing is spared.
    """
    packages = opening_kinds(form)[0].packages
    if "torch" in packages:
        return None
    lines = [_pinned(package) for package in (*_ALWAYS, *packages)]
    return _HEAD.format(python=platform.python_version()) + "\n".join(lines) + "\n"


def _pinned(package: str) -> str:
    """``package==version``; of a package that has no metadata here (``-gpu``...), its name."""
    try:
        # Without what only the builder's machine knows: 1.2+cpu.
        return f"{package}=={version(package).partition('+')[0]}"
    except PackageNotFoundError:
        return package
