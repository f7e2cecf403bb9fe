"""The training loop."""

import itertools
import logging
import time

import torch
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from mutualvideo.data.augment import Augmentation
from mutualvideo.data.loader import build_loader
from mutualvideo.engine.checkpoint import (
    checkpoint_path,
    newest_checkpoint,
    resume,
    save_checkpoint,
)
from mutualvideo.engine.distributed import barrier, gather_to_main, sum_over_processes
from mutualvideo.engine.evaluate import calibrate_from, evaluate
from mutualvideo.engine.log import Scalars, log_json_stats
from mutualvideo.engine.means import means_over_processes
from mutualvideo.engine.optimizer import build_optimizer, learning_rate, set_learning_rate
from mutualvideo.errors import InputError
from mutualvideo.models import (
    build_model,
    full_subnet,
    load_pretrained,
    recompute_blocks,
    require_runnable,
)
from mutualvideo.mutual import SubnetSampler, check_finite, compile_training, mutual_step
from mutualvideo.slim import order_channels, set_subnet, slim_state, weights_layout
from mutualvideo.subnet import Subnet

logger = logging.getLogger(__name__)


def build_sampler(cfg, steps_per_epoch=0):
    """The :class:`~mutualvideo.mutual.SubnetSampler` of ``cfg``; every draw of it can be run.

    Args:
        cfg: the configuration.
        steps_per_epoch: what MUTUAL.ALONE_EPOCHS is counted in.

    Raises:
        InputError: naming the MUTUAL key that the network cannot take.
    """
    mutual = cfg.MUTUAL
    sampler = SubnetSampler(
        full_subnet(cfg),
        mutual.MODE,
        mutual.WIDTH_RANGE,
        mutual.NUM_RANDOM,
        mutual.FRAMES,
        mutual.SIZES,
        cfg.RNG_SEED,
        mutual.ALONE_EPOCHS * steps_per_epoch,
        mutual.WIDTHS,
    )
    if mutual.MODE == "mutual":
        for frames, size in itertools.product(sampler.frames or [None], sampler.sizes):
            shape = Subnet(mutual.WIDTH_RANGE[0], frames, size)
            require_runnable(cfg, shape, "MUTUAL.FRAMES and MUTUAL.SIZES")
    return sampler


def train(cfg, context):
    """Trains the network of ``cfg``; returns the path of the last checkpoint.

    Checkpoints, ``json_stats`` lines and TensorBoard scalars go to OUTPUT_DIR. With
    TRAIN.AUTO_RESUME a run continues from its newest checkpoint to the losses that the
    uninterrupted run would have had.

    Raises:
        InputError: for bad configuration, data or checkpoints; DivergedError if a loss is
            not finite.
    """
    if cfg.MODEL.LOSS_FUNC != "cross_entropy":
        raise InputError(f"MODEL.LOSS_FUNC {cfg.MODEL.LOSS_FUNC}: choose cross_entropy")
    augmentation = Augmentation(cfg)
    loader = build_loader(cfg, "train", context.rank, context.world_size)
    sampler = build_sampler(cfg, len(loader))
    torch.manual_seed(cfg.RNG_SEED)
    model = build_model(cfg)
    if cfg.MODEL.ACT_CHECKPOINT:
        recompute_blocks(model)
    model.to(context.device, memory_format=weights_layout(model))
    optimizer = build_optimizer(model, cfg)
    first_epoch = _start_from(cfg, model, optimizer)
    parallel = _parallel(model, cfg, context)
    if cfg.TRAIN.COMPILE:
        compile_training(model, sampler.grid(), cfg.TRAIN.COMPILE_GRAPHS)
    scalars = Scalars(cfg.OUTPUT_DIR, context.is_main)
    monitor = _Monitor(cfg, context, sampler)
    for epoch in range(first_epoch, cfg.SOLVER.MAX_EPOCH):
        loader.set_epoch(epoch)
        _train_epoch(
            cfg, context, epoch, loader, augmentation, model, parallel, optimizer, sampler, scalars
        )
        done = epoch + 1
        is_last = done == cfg.SOLVER.MAX_EPOCH
        if context.is_main and (done % cfg.TRAIN.CHECKPOINT_PERIOD == 0 or is_last):
            logger.info("wrote %s", save_checkpoint(cfg, model, optimizer, done))
        if cfg.TRAIN.EVAL_PERIOD and done % cfg.TRAIN.EVAL_PERIOD == 0 and not is_last:
            monitor.run(model, done, scalars)
    scalars.close()
    barrier()
    return checkpoint_path(cfg.OUTPUT_DIR, max(first_epoch, cfg.SOLVER.MAX_EPOCH))


def _start_from(cfg, model, optimizer):
    """Loads what the run starts from; returns the number of epochs already done."""
    newest = newest_checkpoint(cfg.OUTPUT_DIR) if cfg.TRAIN.AUTO_RESUME else None
    if newest is not None:
        epoch = resume(newest, cfg, model, optimizer)
        logger.info("resumed from %s, %d epochs done", newest, epoch)
        return epoch
    path = cfg.TRAIN.CHECKPOINT_FILE_PATH
    if path:
        load_pretrained(model, path, replace_classifier=True)
        logger.info("started from the weights of %s", path)
    if cfg.MUTUAL.ORDER_CHANNELS:
        if not path:
            raise InputError(
                "MUTUAL.ORDER_CHANNELS puts the important channels of trained weights first: name "
                "their file in TRAIN.CHECKPOINT_FILE_PATH"
            )
        logger.info("ordered the channels of %d sets of layers", order_channels(model))
    return 0


def _parallel(model, cfg, context):
    norm = cfg.BN.NORM_TYPE
    if norm not in ("batchnorm", "sync_batchnorm"):
        raise InputError(f"BN.NORM_TYPE {norm}: choose batchnorm or sync_batchnorm")
    slim_state(model).over_processes = norm == "sync_batchnorm" and context.world_size > 1
    if context.world_size == 1:
        return None
    on_gpu = context.device.type == "cuda"
    return DistributedDataParallel(model, device_ids=[context.device.index] if on_gpu else None)


def _train_epoch(
    cfg, context, epoch, loader, augmentation, model, parallel, optimizer, sampler, scalars
):
    steps = len(loader)
    model.train()
    totals = torch.zeros(3, dtype=torch.float64, device=context.device)  # loss, correct, clips
    mark = time.perf_counter()
    bar = tqdm(loader, f"epoch {epoch + 1}/{cfg.SOLVER.MAX_EPOCH}", disable=None, leave=False)
    for position, batch in enumerate(bar):
        data_wait = time.perf_counter() - mark
        step = epoch * steps + position
        rate = learning_rate(cfg, step / steps, context.nodes)
        set_learning_rate(optimizer, rate)
        # Dropout depends on (seed, step) alone, so a resumed run is the uninterrupted one.
        torch.manual_seed((cfg.RNG_SEED << 32) + step * context.world_size + context.rank)
        clips, targets = augmentation(batch, context.device)
        optimizer.zero_grad(set_to_none=True)
        subnets = sampler.draw(step)
        smoothing = augmentation.label_smoothing
        results = mutual_step(model, clips, targets, subnets, smoothing, parallel)
        losses = check_finite(results, step)
        if cfg.SOLVER.CLIP_GRAD_L2NORM > 0:
            torch.nn.utils.clip_grad_norm_(model.parameters(), cfg.SOLVER.CLIP_GRAD_L2NORM)
        optimizer.step()
        count = len(clips)
        totals += torch.tensor(
            [losses[0] * count, results[0].correct.item(), count], device=totals.device
        )
        now = time.perf_counter()
        if (position + 1) % cfg.LOG_PERIOD == 0:
            timing = {"dt": now - mark, "dt_data": data_wait, "lr": rate}
            timing["eta_s"] = round((now - mark) * (cfg.SOLVER.MAX_EPOCH * steps - step))
            means = means_over_processes(results, count)
            _log_step(epoch, position, steps, results, means, timing, scalars)
        mark = now
    replaced = gather_to_main(loader.bad)
    loss, correct, clips = sum_over_processes(totals).tolist()
    if context.is_main:
        messages = [message for part in replaced for message in part.values()]
        for message in messages:
            logger.warning("replaced in epoch %d: %s", epoch + 1, message)
        top1_err = 100 - 100 * correct / clips
        log_json_stats({
            "_type": "train_epoch",
            "epoch": f"{epoch + 1}/{cfg.SOLVER.MAX_EPOCH}",
            "loss": loss / clips,
            "lr": rate,
            "top1_err": top1_err,
            "videos_replaced": len(messages),
        })
        scalars.add({"train/loss": loss / clips, "train/top1_err": top1_err}, (epoch + 1) * steps)


def _log_step(epoch, position, steps, results, means, timing, scalars):
    """One ``json_stats`` line for each sub-network of a step, and the scalars by its role.

    Silent but in the main process, as the log and ``Scalars`` are.
    """
    roles = ["full", "narrowest"] + [f"random{i + 1}" for i in range(len(results) - 2)]
    for role, result, (loss, top1_err) in zip(roles, results, means, strict=False):
        log_json_stats({
            "_type": "train_iter",
            "epoch": epoch + 1,
            "iter": f"{position + 1}/{steps}",
            "role": role,
            "subnet": str(result.subnet),
            "loss": loss,
            "top1_err": top1_err,
            **timing,
        })
        scalars.add(
            {f"step/loss_{role}": loss, f"step/top1_err_{role}": top1_err},
            epoch * steps + position,
        )
    scalars.add({f"step/{k}": timing[k] for k in ("dt", "dt_data", "lr")}, epoch * steps + position)


class _Monitor:
    """Accuracy of the full and the cheapest trained sub-network while training goes on."""

    def __init__(self, cfg, context, sampler):
        self.cfg, self.context = cfg, context
        self.subnets = [sampler.full]
        if sampler.mode == "mutual":
            frames = min(sampler.frames, default=None)
            self.subnets.append(Subnet(cfg.MUTUAL.WIDTH_RANGE[0], frames, min(sampler.sizes)))

    def run(self, model, epoch, scalars):
        cfg, context = self.cfg, self.context
        shards = (context.rank, context.world_size)
        calibrate_from(build_loader(cfg, "calibration", *shards), model, self.subnets, cfg, context)
        found = evaluate(model, self.subnets, build_loader(cfg, "val", *shards), cfg, context)
        set_subnet(model, self.subnets[0])
        if not context.is_main:
            return
        for subnet, accuracy in found.accuracies.items():
            log_json_stats({
                "_type": "val_epoch",
                "epoch": f"{epoch}/{cfg.SOLVER.MAX_EPOCH}",
                "subnet": str(subnet),
                "top1_err": 100 - accuracy.top1,
                "top5_err": 100 - accuracy.top5,
            })
            scalars.add({f"val/top1_{subnet}": accuracy.top1}, epoch)
