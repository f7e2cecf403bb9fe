"""Objects in pictures, as a task of training."""

import torch

from mutualvideo.config import get_cfg
from mutualvideo.detection import order_detector_channels
from mutualvideo.detection.coco_splits import (
    compare_splits,
    detection_loader,
    read_split,
    settle_detected_classes,
)
from mutualvideo.detection.detection_step import detection_step
from mutualvideo.detection.detector_costs import detector_costs
from mutualvideo.detection.detector_weights import load_starting_weights
from mutualvideo.engine.task import Task
from mutualvideo.errors import InputError
from mutualvideo.evaluation.detector_scores import calibrate_on, score_detector
from mutualvideo.table.fingerprint import fingerprint

# Keys whose default alone goes with detectors: what they decide is not offered, or torchvision's.
_FIXED = """
    AUG.ENABLE MIXUP.ENABLE MULTIGRID.SHORT_CYCLE MULTIGRID.LONG_CYCLE
    MODEL.ARCH MODEL.CLASS_WEIGHTS MODEL.LABEL_SMOOTHING MODEL.ACT_CHECKPOINT MODEL.LOSS_FUNC
    BN.EPSILON BN.MOMENTUM
    DATA.MULTI_LABEL DATA.SAMPLER DATA.CACHE DATA.TRAIN_JITTER_SCALES DATA.TRAIN_CROP_PADDING
    DATA.TRAIN_JITTER_SCALES_RELATIVE DATA.TRAIN_JITTER_ASPECT_RELATIVE
    TRAIN.FREEZE TRAIN.COMPILE TRAIN.MICRO_BATCHES
    MUTUAL.SUBNET MUTUAL.LABEL_SHARE
    AUG.CUTOUT DATA.INV_UNIFORM_SAMPLE DATA.ENSEMBLE_METHOD
    TABLE.FRAMES TABLE.STATISTICS TABLE.LATENCY_BATCH TABLE.LATENCY_BACKEND TABLE.CONTINUAL
""".split()


class DetectionTask(Task):
    """See :class:`~mutualvideo.engine.task.Task`."""

    def check(self, cfg):
        default = get_cfg()
        for key in _FIXED:
            section, leaf = key.split(".")
            if cfg[section][leaf] != default[section][leaf]:
                raise InputError(
                    f"{key} {cfg[section][leaf]}: does not go with the detector "
                    f"{cfg.MODEL.MODEL_NAME}: leave it at {default[section][leaf] or 'its default'}"
                )
        if not cfg.DETECTOR.IMITATION >= 0:
            raise InputError(
                f"DETECTOR.IMITATION must not be negative, got {cfg.DETECTOR.IMITATION:g}"
            )
        picture = cfg.DETECTOR.PICTURE
        if picture and (len(picture) != 2 or min(picture) < 1):
            raise InputError(f"DETECTOR.PICTURE must be [height, width] in pixels, got {picture}")

    def settle(self, cfg):
        return settle_detected_classes(cfg)

    def lists(self, cfg, context):
        train = read_split(cfg, "train" if cfg.TRAIN.ENABLE else "calibration")
        if cfg.TRAIN.ENABLE and cfg.MODEL.NUM_CLASSES < train.num_classes:
            raise InputError(
                f"MODEL.NUM_CLASSES {cfg.MODEL.NUM_CLASSES}: {train.file.path} has labels to "
                f"{train.num_classes - 1}, and 0 is the background: set it to {train.num_classes}"
            )
        wanted = (("val", cfg.TRAIN.ENABLE and cfg.TRAIN.EVAL_PERIOD), ("test", cfg.TEST.ENABLE))
        for split, is_read in wanted:
            if is_read:
                compare_splits(train, read_split(cfg, split))
        return {}

    def val_list(self, cfg, context):
        return fingerprint(read_split(cfg, "val").file.path)

    def loader(self, cfg, split, context, turns=None):
        return detection_loader(cfg, split, context.rank, context.world_size)

    def inputs(self, cfg):
        return _Pictures()

    def noise(self, cfg, shape, device):
        count, _, height, width = shape
        box = torch.tensor([[width / 4, height / 4, width / 2, height / 2]], device=device)
        label = torch.ones(1, dtype=torch.int64, device=device)
        mask = torch.zeros(1, height, width, dtype=torch.uint8, device=device)
        mask[:, height // 4 : height // 2, width // 4 : width // 2] = 1
        pictures = torch.rand(shape, device=device)
        return list(pictures), [{"boxes": box, "labels": label, "masks": mask}] * count

    def class_weights(self, cfg, dataset):
        return None

    def load(self, model, path):
        load_starting_weights(model, path)

    def order(self, model, along):
        return order_detector_channels(model, along)

    def step(self, cfg):
        def step(model, pictures, targets, subnets, _, passes, *, teaching, weights):
            imitation = cfg.DETECTOR.IMITATION
            return detection_step(
                model, pictures, targets, subnets, imitation, passes, weights=weights
            )

        return step

    def costs(self, cfg, model, subnets):
        # Without the teacher's passes at the sizes of sub-networks, which have no gradients.
        return detector_costs(model, subnets, cfg.DETECTOR.PICTURE or None)

    def validate(self, cfg, context, model, subnets):
        calibrate_on(self.loader(cfg, "calibration", context), model, subnets, cfg, context)
        found = score_detector(model, read_split(cfg, "val"), subnets, cfg, context)
        told = {}
        for subnet, scores in found.items():
            values = {f"{kind}_ap": one.ap for kind, one in scores.items()}
            values |= {f"{kind}_ap50": one.ap50 for kind, one in scores.items()}
            values = {name: value for name, value in values.items() if value is not None}
            told[subnet] = values.get("box_ap", 0.0), values, values
        return told


class _Pictures:
    label_smoothing = 0.0

    def __call__(self, batch, device, size=None):
        pictures, targets = batch
        tensors = [
            {n: v.to(device) for n, v in one.items() if isinstance(v, torch.Tensor)}
            for one in targets
        ]
        return [picture.to(device, non_blocking=True) for picture in pictures], tensors
