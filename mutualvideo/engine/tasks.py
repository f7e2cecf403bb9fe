"""Which task a configuration is of."""

from mutualvideo.engine.recognition_task import RecognitionTask
from mutualvideo.registry import is_detector


def task_of(cfg):
    """The :class:`~mutualvideo.engine.task.Task` of what MODEL.MODEL_NAME names."""
    # Imported when it is asked: torchvision's detectors take a second.
    if is_detector(cfg.MODEL.MODEL_NAME):
        from mutualvideo.engine.detection_task import DetectionTask

        return DetectionTask()
    return RecognitionTask()
