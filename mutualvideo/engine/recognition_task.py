"""Classes of clips and pictures, as a task of training."""

import torch

from mutualvideo.data.augment import Augmentation
from mutualvideo.data.class_count import class_weights, settle_classes
from mutualvideo.data.loader import build_loader
from mutualvideo.engine.needed_lists import read_lists
from mutualvideo.engine.task import Task
from mutualvideo.evaluation.evaluate import calibrate_from, evaluate
from mutualvideo.models import load_pretrained
from mutualvideo.mutual import mutual_step
from mutualvideo.slim import count_costs, order_channels
from mutualvideo.table.fingerprint import manifest


class RecognitionTask(Task):
    """See :class:`~mutualvideo.engine.task.Task`."""

    def check(self, cfg):
        pass

    def settle(self, cfg):
        return settle_classes(cfg)

    def lists(self, cfg, context):
        return read_lists(cfg, context)

    def val_list(self, cfg, context):
        # A data set of one's own may be no list.
        return manifest(getattr(self.loader(cfg, "val", context).dataset, "videos", ()))

    def loader(self, cfg, split, context, turns=None):
        return build_loader(cfg, split, context.rank, context.world_size, turns)

    def inputs(self, cfg):
        return Augmentation(cfg)

    def noise(self, cfg, shape, device):
        clips = torch.randn(shape, device=device)
        targets = torch.arange(len(clips), device=device) % cfg.MODEL.NUM_CLASSES
        if cfg.DATA.MULTI_LABEL or cfg.MIXUP.ENABLE:
            targets = torch.nn.functional.one_hot(targets, cfg.MODEL.NUM_CLASSES).float()
        return clips, targets

    def class_weights(self, cfg, dataset):
        return class_weights(cfg, dataset.videos)

    def load(self, model, path):
        load_pretrained(model, path, replace_classifier=True)

    def order(self, model, along):
        return order_channels(model, along)

    def step(self, cfg):
        return mutual_step

    def costs(self, cfg, model, subnets):
        return count_costs(model, subnets)

    def validate(self, cfg, context, model, subnets):
        calibrate_from(self.loader(cfg, "calibration", context), model, subnets, cfg, context)
        found = evaluate(model, subnets, self.loader(cfg, "val", context), cfg, context)
        return {subnet: _told(found, subnet) for subnet in found.accuracies}


def _told(found, subnet):
    accuracy, mean_ap = found.accuracies[subnet], found.averages[subnet].mean_ap
    stats = {"top1_err": 100 - accuracy.top1, "top5_err": 100 - accuracy.top5}
    scalars = {"top1": accuracy.top1}
    if mean_ap is not None:
        stats, scalars = {**stats, "map": mean_ap}, {**scalars, "map": mean_ap}
    return found.merit(subnet), stats, scalars
