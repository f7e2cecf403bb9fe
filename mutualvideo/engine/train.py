"""The training loop."""

import itertools
import logging
from functools import partial

import torch
from tqdm import tqdm

from mutualvideo.data.class_count import class_names
from mutualvideo.engine.best import Best
from mutualvideo.engine.curves import plot_training
from mutualvideo.engine.divergence import (  # noqa: F401  (what train() raises)
    DivergedError,
    diverged,
    require_finite,
)
from mutualvideo.engine.monitor import Monitor
from mutualvideo.engine.ordering import must_order, order_before, order_trained
from mutualvideo.engine.parallel import run_parallel
from mutualvideo.engine.run_keys import check_alone, check_training_keys
from mutualvideo.engine.starting_point import load_initial, newest_of
from mutualvideo.engine.step_plan import StepPlan, batch_turns
from mutualvideo.engine.tasks import task_of
from mutualvideo.engine.update import Updater
from mutualvideo.engine.watch import Watch
from mutualvideo.errors import InputError
from mutualvideo.models import (
    build_model,
    freeze,
    full_subnet,
    recompute_blocks,
    require_runnable,
    train_alone,
)
from mutualvideo.mutual import SubnetSampler, compile_training
from mutualvideo.run.allocator import keep_freed_memory
from mutualvideo.run.checkpoint import checkpoint_path, keeps_best, resume, save_checkpoint
from mutualvideo.run.cost import TrainingCost
from mutualvideo.run.distributed import barrier, from_main, sum_over_processes
from mutualvideo.run.lock import require_same_folder
from mutualvideo.run.log import Scalars
from mutualvideo.run.progress import Progress
from mutualvideo.run.reduce import means_over_processes
from mutualvideo.run.stopping import Stop
from mutualvideo.run.trained_macs import TrainedMacs
from mutualvideo.run.trained_videos import compare_lists, noted
from mutualvideo.signals import stop_on_signals
from mutualvideo.slim import place
from mutualvideo.slim.subclass import require_shareable_norms
from mutualvideo.subnet import Subnet

logger = logging.getLogger(__name__)


def build_sampler(cfg, alone=0):
    """The :class:`~mutualvideo.mutual.SubnetSampler` of ``cfg``; every draw of it can be run.

    Args:
        cfg: the configuration.
        alone: how many steps MUTUAL.ALONE_EPOCHS are.

    Raises:
        InputError: naming the MUTUAL key that the network cannot take.
    """
    mutual = cfg.MUTUAL
    check_alone(cfg)
    sampler = SubnetSampler(
        full_subnet(cfg),
        mutual.MODE,
        mutual.WIDTH_RANGE,
        mutual.NUM_RANDOM,
        mutual.FRAMES,
        mutual.SIZES,
        cfg.RNG_SEED,
        alone,
        mutual.WIDTHS,
        mutual.DRAW,
    )
    if mutual.MODE == "mutual":
        for frames, size in itertools.product(sampler.frames or [None], sampler.sizes):
            shape = Subnet(mutual.WIDTH_RANGE[0], frames, size)
            require_runnable(cfg, shape, "MUTUAL.FRAMES and MUTUAL.SIZES")
    return sampler


def build_trained(cfg, device):
    """``build_model`` as training runs it: laid out for speed, with activation checkpointing."""
    model = build_model(cfg)
    if cfg.MUTUAL.SUBNET:
        train_alone(model)
    freeze(model, cfg)
    if cfg.MODEL.ACT_CHECKPOINT:
        recompute_blocks(model)
    return place(model, device)


def train(cfg, context, begins=None):
    """Trains the network of ``cfg``; returns the path of the last checkpoint.

    Checkpoints, ``stats.jsonl``, ``training.png`` and TensorBoard scalars go to OUTPUT_DIR. With
    TRAIN.AUTO_RESUME a run continues from its newest checkpoint to the losses that the
    uninterrupted run would have had. SIGTERM, ^C and TRAIN.TIME_LIMIT end it after the step at
    hand, with a checkpoint; a second signal ends it at once.

    Args:
        cfg: the configuration.
        context: this process.
        begins: called before the first step, when nothing is refused any more.

    Returns:
        The path, or ``None`` if the run was ended early.

    Raises:
        InputError: for bad configuration, data or checkpoints, or if a checkpoint cannot be
            written; DivergedError if more than TRAIN.MAX_SKIPPED_STEPS steps of an epoch, more than
            half of an epoch or more than a fifth of all have losses that are not finite, or if a
            weight is not.
    """
    check_training_keys(cfg)
    task = task_of(cfg)
    task.check(cfg)
    cfg = task.settle(cfg)
    if context.device.type == "cpu":
        keep_freed_memory()
    with stop_on_signals() as event:
        training = _Training(cfg, context, event, task)
        try:
            if begins is not None:
                begins()
            path = training.run()
        finally:
            training.scalars.close()
    if context.is_main:
        try:
            plot_training(cfg.OUTPUT_DIR)
        except InputError as error:  # a picture is not worth the end of a run
            logger.warning("%s", error)
    return path


class _Training:
    """A run: what it is made of, and how far it is."""

    def __init__(self, cfg, context, event, task):
        self.cfg, self.context, self.task = cfg, context, task
        self.inputs = task.inputs(cfg)
        self.loader = task.loader(cfg, "train", context, batch_turns(cfg))
        self.classes = class_names(self.loader.dataset)
        self.plan = StepPlan(cfg, len(self.loader.dataset), context.world_size)
        sampler = build_sampler(cfg, self.plan.before(cfg.MUTUAL.ALONE_EPOCHS))
        self.order_before = order_before(cfg, self.plan)
        torch.manual_seed(cfg.RNG_SEED)
        model = build_trained(cfg, context.device)
        newest = newest_of(cfg, context)
        if newest is None:
            load_initial(cfg, model)
        parallel = run_parallel(model, cfg, context)
        self.model, self.sampler = model, sampler
        weights = task.class_weights(cfg, self.loader.dataset)
        self.updater = Updater(cfg, context.device, model, parallel, weights)
        if any(one.norm_parts > 1 for one in self.plan.all_kinds()):
            require_shareable_norms(model)
        if cfg.TRAIN.COMPILE:
            if cfg.TRAIN.BATCH_SIZE // context.world_size % cfg.TRAIN.MICRO_BATCHES:
                raise InputError(
                    f"TRAIN.COMPILE: TRAIN.MICRO_BATCHES {cfg.TRAIN.MICRO_BATCHES} does not divide "
                    "the clips of a process, and another number of clips is another graph"
                )
            compile_training(model, sampler.grid(), cfg.TRAIN.COMPILE_GRAPHS, steps=self._shapes())
        self.progress, videos = Progress(), getattr(self.loader.dataset, "videos", None)
        self.videos = noted(videos)
        if newest is not None:
            self.progress = resume(*newest, cfg, self.updater, self.classes)
            self.videos, is_other = compare_lists(*newest, videos)
            if is_other and self.progress.step:
                logger.warning("epoch %d begins anew", self.progress.epoch + 1)
                self.progress = self.progress.of_whole_epochs()
            if self.progress.step > self.plan.steps_of(self.progress.epoch):
                raise InputError(
                    f"{newest[0]}: {self.progress.step} steps of an epoch are done, which has "
                    f"{self.plan.steps_of(self.progress.epoch)} now: the list, TRAIN.BATCH_SIZE or "
                    "MULTIGRID was changed"
                )
            if self._number() > self.plan.total:
                raise InputError(
                    f"{newest[0]}: {self.progress.epoch} epochs and {self.progress.step} steps are "
                    f"done, more than SOLVER.MAX_EPOCH {cfg.SOLVER.MAX_EPOCH}"
                    f"{f' ({self.plan.epochs} with MULTIGRID)' if self.plan.is_varied else ''}: "
                    "raise it, or choose another OUTPUT_DIR"
                )
            logger.info(
                "resumed from %s, %d epochs and %d steps done",
                newest[0],
                self.progress.epoch,
                self.progress.step,
            )
            self.progress = self.progress.share_of(context.rank)
        val_list = task.val_list(cfg, context) if keeps_best(cfg) else ""
        self.best = Best(cfg, newest is not None, val_list)
        self.cost = TrainingCost(cfg.OUTPUT_DIR, newest is not None and context.is_main)
        self.macs = self._count_macs()
        self.scalars = Scalars(cfg.OUTPUT_DIR, context.is_main)
        self.watch = Watch(cfg, self.plan, self.scalars)
        self.monitor = Monitor(cfg, context, sampler, self.plan.epochs)
        self.stop = Stop(context, event, 60 * cfg.TRAIN.TIME_LIMIT, self._number())

    def run(self):
        """See :func:`train`."""
        cfg, context = self.cfg, self.context
        if not self.progress.step and self._is_validated(self.progress.epoch):
            if self.best.is_due(self.progress.epoch):  # it was ended just before
                self._validate(self.progress.epoch)
        while self.progress.epoch < self.plan.epochs and not self._gives_up():
            reason = self._epoch()
            if self.progress.step < self.plan.steps_of(self.progress.epoch):
                self._save(self.progress.gathered())
                logger.info("ended early, %s: the same command continues", reason)
                return None
            whole = self.progress.gathered()
            if context.is_main:
                self.watch.epoch_done(whole, self._rate(self._number() - 1))
            done = self.progress.epoch + 1
            self._judge_epoch()
            self.progress = Progress(done, skipped_before=self.progress.all_skipped)
            is_last = done == self.plan.epochs
            period = cfg.TRAIN.CHECKPOINT_PERIOD
            if is_last or reason or (period and done % period == 0):
                self._save(self.progress)
            is_ended, validated = reason and not is_last, ()
            if self._is_validated(done) and not is_ended:
                validated = self._validate(done)
            if context.is_main:
                self.watch.epoch_line(validated)
            if is_ended:
                logger.info("ended early, %s: the same command continues", reason)
                return None
            if validated and not (is_last or (period and done % period == 0)) and self._gives_up():
                self._save(self.progress)
        if reason := self._gives_up():
            logger.info("training ends early, %s", reason)
        barrier()
        if self.best.enabled:
            return self.best.path
        return checkpoint_path(cfg.OUTPUT_DIR, self.progress.epoch)

    def _is_validated(self, done):
        """Whether the val list is read after ``done`` epochs; after the last comes the table."""
        if done == self.plan.epochs:
            no_table = self.cfg.TRAIN.EVAL_PERIOD > 0 and not self.cfg.TEST.ENABLE
            return self.best.enabled or no_table
        return self.plan.is_validated(done)

    def _validate(self, done):
        """Returns ``[(role, percent), ...]`` of what was validated."""
        score, validated = self.monitor.run(self.model, done, self.scalars)
        if self.context.is_main and self.best.is_due(done):

            def save(path):
                save_checkpoint(
                    self.cfg, self.updater, self.progress, path, self.classes, self.videos
                )

            self.best.judge(done, score, save)
        return validated

    def _gives_up(self):
        return from_main(self.best.gives_up() if self.context.is_main else None)

    def _number(self):
        """Steps done since the very beginning."""
        return self.plan.before(self.progress.epoch) + self.progress.step

    def _rate(self, step):
        return self.plan.rate(step, self.context.nodes)

    def _strength(self, step):
        """What the losses of sub-networks count: grows to 1 over MUTUAL.RAMP_EPOCHS."""
        mutual = self.cfg.MUTUAL
        if not mutual.RAMP_EPOCHS:
            return 1.0
        since = self.plan.epoch_at(step + 1) - mutual.ALONE_EPOCHS
        return min(1.0, max(0.0, since / mutual.RAMP_EPOCHS))

    def _save(self, whole):
        """``whole``: of all processes, in the main one."""
        require_finite(self.model, self.cfg.OUTPUT_DIR)  # within an epoch too
        cpu_s = torch.tensor(self.cost.spent()[0], device=self.context.device)
        sum_over_processes(cpu_s)
        if self.context.is_main:
            require_same_folder(self.cfg.OUTPUT_DIR)
            path = save_checkpoint(
                self.cfg, self.updater, whole, classes=self.classes, videos=self.videos
            )
            logger.info("wrote %s", path)
            macs = self.macs.total()
            self.cost.save(self.progress.epoch, self._number(), macs, cpu_s.item())

    def _shapes(self):
        """What the kinds of steps make of the clips of a process, for ``compile_training``."""
        if not self.plan.is_varied:
            return None
        share = self.context.world_size * self.cfg.TRAIN.MICRO_BATCHES
        parts = self.cfg.TRAIN.MICRO_BATCHES
        return [
            (one.clips // share, max(1, one.norm_parts // parts), one.whole)
            for one in self.plan.all_kinds()
        ]

    def _count_macs(self):
        before = self.cost.macs_before(self._number())
        costs = partial(self.task.costs, self.cfg)
        found = TrainedMacs(self.model, self.sampler.full, before or 0, costs)
        if before is None and self.context.is_main:
            for number in range(self._number()):
                kind = self.plan.step(number)
                found.add(self.sampler.draw(number, kind.whole), kind.clips, kind.whole)
        return found

    def _epoch(self):
        """Trains to the end of an epoch, or to where the run is to end: then why."""
        cfg, context, progress = self.cfg, self.context, self.progress
        epoch, reason = progress.epoch, None
        steps = self.plan.steps_of(epoch)
        self.loader.set_epoch(epoch, progress.step)
        self.model.train()
        self.watch.epoch_begins()
        bar = tqdm(
            self.loader,
            f"epoch {epoch + 1}/{self.plan.epochs}",
            initial=progress.step,
            total=steps,
            disable=None,
            leave=False,
        )
        for batch in bar:
            self.watch.data_came()
            step = self._number()
            rate = self._rate(step)
            if must_order(self.updater, self.order_before, step):
                order_trained(self.task, self.updater)
            # Dropout depends on (seed, step) alone, so a resumed run is the uninterrupted one.
            torch.manual_seed((cfg.RNG_SEED << 32) + step * context.world_size + context.rank)
            kind = self.plan.step(step)
            clips, targets = self.inputs(batch, context.device, kind.size)
            smoothing = self.inputs.label_smoothing
            subnets, strength = self.sampler.draw(step, kind.whole), self._strength(step)
            self.macs.add(subnets, kind.clips, kind.whole)
            done = self.updater(clips, targets, subnets, smoothing, rate, strength, kind.norm_parts)
            results, count = done.results, len(clips)
            if done.fault is None:
                progress.add(count, results[0].loss.item(), results[0].correct.item())
            else:
                self._skip(step, done.fault)
            progress.replaced |= self.loader.bad
            if self.watch.step_done(step):
                means = means_over_processes(results, count)
                found = [(one.subnet, *mean) for one, mean in zip(results, means, strict=True)]
                self.watch.line(step, rate, found)
            reason = self.stop.after(step)
            if reason:
                break
            period = cfg.TRAIN.CHECKPOINT_STEPS
            if period and progress.step % period == 0 and progress.step < steps:
                self._save(progress.gathered())
        bar.close()
        return reason

    def _skip(self, step, fault):
        self.progress.skip()
        logger.warning("skipped step %d: %s", step, fault)
        limit = self.cfg.TRAIN.MAX_SKIPPED_STEPS
        if self.progress.skipped > limit:
            raise diverged(
                f"step {step}: {fault}; {self.progress.skipped} steps of this epoch were skipped, "
                f"TRAIN.MAX_SKIPPED_STEPS allows {limit}",
                self.cfg.OUTPUT_DIR,
            )

    def _judge_epoch(self):
        """Epochs may be shorter than TRAIN.MAX_SKIPPED_STEPS: then shares count."""
        require_finite(self.model, self.cfg.OUTPUT_DIR)
        replaced = self.progress.replaced
        bad = torch.tensor(len(replaced), device=self.context.device)
        self.loader.check_bad(sum_over_processes(bad).item(), replaced)
        skipped, whole, done = self.progress.skipped, self.progress.all_skipped, self._number()
        steps = self.plan.steps_of(self.progress.epoch)
        if 2 * skipped > steps:
            what = f"{skipped} of the {steps} steps of epoch {self.progress.epoch + 1}"
        elif whole > self.cfg.TRAIN.MAX_SKIPPED_STEPS and 5 * whole > done:
            what = f"{whole} of {done} steps so far"
        else:
            return
        raise diverged(f"{what} were skipped", self.cfg.OUTPUT_DIR)
