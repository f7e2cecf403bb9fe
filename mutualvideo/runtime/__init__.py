"""Running a trained network under a budget. Never imports ``mutualvideo.engine``.

Nothing here imports torch before a checkpoint is opened.
"""

from mutualvideo.runtime.plan import Stream
from mutualvideo.runtime.prediction import Prediction
from mutualvideo.runtime.prepared import PreparationError
from mutualvideo.runtime.recognizer import AdaptiveRecognizer
from mutualvideo.runtime.service import ClosedError, OverloadError, Service
from mutualvideo.runtime.streams import StreamServer

__all__ = [
    "AdaptiveRecognizer",
    "ClosedError",
    "OverloadError",
    "Prediction",
    "PreparationError",
    "Service",
    "Stream",
    "StreamServer",
]
