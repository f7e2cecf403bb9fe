"""Running a trained network under a budget. Never imports ``mutualvideo.engine``.

Nothing here imports torch before a checkpoint is opened.
"""

from typing import Any

import mutualvideo
from mutualvideo.runtime.prediction import Prediction
from mutualvideo.runtime.prepared import PreparationError
from mutualvideo.runtime.recognizer import AdaptiveRecognizer

__all__ = ["AdaptiveRecognizer", "Prediction", "PreparationError"]

# Handed out by the package; here in version 0.1.
_MOVED = {"ClosedError", "OverloadError", "Service", "Stream", "StreamServer"}


def __getattr__(name: str) -> Any:
    if name in _MOVED:
        return getattr(mutualvideo, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
