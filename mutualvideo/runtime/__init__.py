"""Running a trained network under a budget. Never imports ``mutualvideo.engine``.

Nothing here imports torch before a checkpoint is opened.
"""

from mutualvideo.runtime.prediction import Prediction
from mutualvideo.runtime.prepared import PreparationError
from mutualvideo.runtime.recognizer import AdaptiveRecognizer

__all__ = ["AdaptiveRecognizer", "Prediction", "PreparationError"]
