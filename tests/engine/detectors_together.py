"""What every process of a group does in test_distributed_detectors.py, and one alone too."""

import torch
from torch.nn.parallel import DistributedDataParallel

from mutualvideo.detection import detection_step
from mutualvideo.detection.coco_splits import detection_loader, read_split
from mutualvideo.engine.train import train
from mutualvideo.evaluation.build import evaluate_grid
from mutualvideo.evaluation.detector_scores import calibrate_on, score_detector
from mutualvideo.models import build_model
from mutualvideo.mutual import Passes
from mutualvideo.slim import get_statistics, slim_state
from mutualvideo.subnet import Subnet

SUBNETS = [Subnet.parse(text) for text in ("1x48", "0.5x40", "0.25x32")]


def network(cfg):
    torch.manual_seed(0)
    return build_model(cfg)


def gradients(cfg, context):
    """Of a step of three sub-networks that learn from the labels, norms synchronised."""
    model = network(cfg).train()
    slim_state(model).over_processes = context.world_size > 1
    parallel = DistributedDataParallel(model) if context.world_size > 1 else None
    loader = detection_loader(cfg, "train", context.rank, context.world_size)
    loader.set_epoch(0)
    pictures, targets = next(iter(loader))
    targets = [{name: one[name] for name in ("boxes", "labels")} for one in targets]
    detection_step(model, pictures, targets, SUBNETS, 0.0, Passes(parallel))
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def scores(cfg, context):
    """Statistics, the scores of answers that are right for one picture in three, and which
    pictures this process looked at."""
    model, data = network(cfg).eval(), read_split(cfg, "test")
    loader = detection_loader(cfg, "calibration", context.rank, context.world_size)
    calibrate_on(loader, model, SUBNETS, cfg, context)
    known, looked = [data[number] for number in range(len(data))], []

    def answer(model, args, _):
        found = [
            next(n for n, (pixels, _) in enumerate(known) if pixels.equal(picture))
            for picture in args[0]
        ]
        looked.extend(found)
        return [
            {
                "boxes": known[n][1]["boxes"] + (0.0, 2.0, 20.0)[n % 3],
                "labels": known[n][1]["labels"],
                "scores": torch.linspace(0.9, 0.5, len(known[n][1]["labels"])),
            }
            for n in found
        ]

    model.register_forward_hook(answer)
    found = score_detector(model, data, SUBNETS, cfg, context)
    return get_statistics(model)["subnets"], found, looked


def everything(cfg, context):
    cfg = cfg.clone()
    cfg.OUTPUT_DIR = f"{cfg.OUTPUT_DIR}{context.world_size}"
    found = {"gradients": gradients(cfg, context), "scores": scores(cfg, context)}
    found["checkpoint"] = train(cfg, context)
    table = evaluate_grid(cfg, context)
    found["table"] = {str(row.subnet): (row.macs, row.box_ap, row.box_ap50) for row in table}
    return found
