"""Running a trained network under a budget. Never imports ``mutualvideo.engine``."""

from mutualvideo.runtime.recognizer import AdaptiveRecognizer, Prediction

__all__ = ["AdaptiveRecognizer", "Prediction"]
