"""What every step of a run is: how many of them there are, their clips, their learning rate."""

from dataclasses import dataclass
from functools import cached_property

from mutualvideo.data.batch_orders import Turn, count_batches
from mutualvideo.data.clip_shape import ClipShape
from mutualvideo.engine.multigrid import build_schedule, is_on, is_validated
from mutualvideo.engine.optimizer import scheduled_rate
from mutualvideo.errors import InputError
from mutualvideo.models import require_runnable, whole_subnet
from mutualvideo.subnet import Subnet


@dataclass(frozen=True)
class Step:
    """One step of a run.

    Args:
        clips: of all processes together.
        size: side of their squares in pixels; ``None``: as the configuration says.
        whole: the sub-network that the whole clip goes into, at full width: what the step's
            sub-networks are cut to; ``None``: the configuration's.
        norm_parts: in how many parts BatchNorm normalises a process's clips.
    """

    clips: int
    size: int | None = None
    whole: Subnet | None = None
    norm_parts: int = 1


def batch_turns(cfg):
    """Function from an epoch to its ``[Turn, ...]``, for the loader; ``None``: all are alike.

    Raises:
        InputError: naming the key of ``MULTIGRID`` or ``SOLVER`` that no schedule can be made of.
    """
    if not is_on(cfg):
        return None
    schedule = build_schedule(cfg)
    return lambda epoch: _turns(cfg, schedule.phase(epoch))


def _turns(cfg, phase):
    rate = phase.sampling_rate
    return [
        Turn(factor * cfg.TRAIN.BATCH_SIZE, ClipShape(phase.frames, size, rate))
        for factor, size in phase.turns
    ]


class StepPlan:
    """The steps of a run, counted from 0 over all epochs; epochs may differ in how many they have.

    Args:
        cfg: the configuration.
        videos: of an epoch.
        world_size: processes, which share the clips of a step.

    Raises:
        InputError: naming the key of ``MULTIGRID`` or ``SOLVER`` that no plan can be made of, or if
            an epoch has fewer videos than a step has clips.
    """

    def __init__(self, cfg, videos, world_size=1):
        self._cfg, self._videos, self._world_size = cfg, videos, world_size
        self.schedule = build_schedule(cfg)
        self.is_varied = is_on(cfg)
        self._steps = {phase: self._steps_of(phase) for phase in self.schedule.phases}

    @property
    def epochs(self):
        """Of the whole run."""
        return self.schedule.epochs

    @property
    def total(self):
        """Steps of the whole run."""
        return self._begins[-1]

    @property
    def batch_size(self):
        """TRAIN.BATCH_SIZE."""
        return self._cfg.TRAIN.BATCH_SIZE

    @property
    def plain_total(self):
        """Steps of the run that it would be without ``MULTIGRID``."""
        return self._videos // self.batch_size * self._cfg.SOLVER.MAX_EPOCH

    def steps_of(self, epoch):
        """How many steps ``epoch`` has."""
        return self._steps[self.schedule.phase(epoch)]

    def before(self, epoch):
        """How many steps come before ``epoch``."""
        whole = min(epoch, self.epochs)
        return self._begins[whole] + (epoch - whole) * self.steps_of(epoch)

    def place(self, step):
        """(epoch, step within it) of a step; steps after the end are of epochs like the last."""
        for phase in self.schedule.phases:
            begin, each = self.before(phase.begin), self._steps[phase]
            if step < self.before(phase.end) or phase is self.schedule.phases[-1]:
                epochs, position = divmod(step - begin, each)
                return phase.begin + epochs, position
        raise AssertionError

    def epoch_at(self, step):
        """How many epochs are done before ``step``, a fraction."""
        epoch, position = self.place(step)
        return epoch + position / self.steps_of(epoch)

    def rate(self, step, nodes=1):
        """The learning rate of ``step``, see
        :func:`~mutualvideo.engine.optimizer.scheduled_rate`.

        Where the long cycle has more clips than TRAIN.BATCH_SIZE, as many times that.
        """
        schedule = self.schedule
        return scheduled_rate(schedule.solver, self.epoch_at(step), nodes, schedule.factor)

    def is_validated(self, done):
        """Whether the val list is due after ``done`` epochs, which are not the last."""
        period = self._cfg.TRAIN.EVAL_PERIOD
        if not (period and done):
            return False
        if self._cfg.MULTIGRID.LONG_CYCLE:
            return is_validated(self.schedule, done, self._cfg.MULTIGRID.EVAL_FREQ)
        return done % period == 0

    def step(self, number):
        """The :class:`Step` of that number."""
        epoch, position = self.place(number)
        steps = self.kinds(epoch)
        return steps[position % len(steps)]

    def kinds(self, epoch):
        """The steps that ``epoch`` takes in turn."""
        return self._kinds[self.schedule.phase(epoch)]

    def all_kinds(self, begin=0, end=None):
        """``{Step: how many}`` of the steps from ``begin`` to before ``end``, of all by default."""
        found, end = {}, self.total if end is None else end
        for epoch in range(self.epochs):
            first, steps = self._begins[epoch], self.kinds(epoch)
            low, high = max(begin, first) - first, min(end, self._begins[epoch + 1]) - first
            for place, one in enumerate(steps):
                if count := len(range(low + (place - low) % len(steps), high, len(steps))):
                    found[one] = found.get(one, 0) + count
        return found

    @cached_property
    def _begins(self):
        begins = [0]
        for epoch in range(self.epochs):
            begins.append(begins[-1] + self.steps_of(epoch))
        return begins

    @cached_property
    def _kinds(self):
        return {phase: self._kinds_of(phase) for phase in self.schedule.phases}

    def _kinds_of(self, phase):
        if not self.is_varied:
            return [Step(self._cfg.TRAIN.BATCH_SIZE)]
        cfg, found = self._cfg.clone(), []
        # However many clips the turn has, as in PySlowFast.
        parts = self._norm_parts(phase.factor * cfg.TRAIN.BATCH_SIZE)
        cfg.DATA.NUM_FRAMES = phase.frames
        for factor, size in phase.turns:
            cfg.DATA.TRAIN_CROP_SIZE = size
            whole = whole_subnet(cfg)
            factors = "LONG_CYCLE_FACTORS or SHORT_CYCLE_FACTORS"
            key = f"MULTIGRID.{factors}: clips of {phase.frames} frames and {size} pixels"
            require_runnable(self._cfg, whole, key)
            found.append(Step(factor * cfg.TRAIN.BATCH_SIZE, size, whole, parts))
        return found

    def _norm_parts(self, clips):
        own = clips // self._world_size
        together = clips if self._cfg.BN.NORM_TYPE == "sync_batchnorm" else own
        return max(1, min(own, together // self._cfg.MULTIGRID.BN_BASE_SIZE))

    def _steps_of(self, phase):
        turns = _turns(self._cfg, phase) if self.is_varied else [Turn(self._cfg.TRAIN.BATCH_SIZE)]
        most = max(turn.clips for turn in turns)
        if self.is_varied and most > self._videos:
            raise InputError(
                f"the list holds {self._videos} videos, fewer than the {most} clips of a step "
                f"from epoch {phase.begin + 1} on: lower TRAIN.BATCH_SIZE, or leave the smallest "
                "clips out of MULTIGRID.LONG_CYCLE_FACTORS"
            )
        return count_batches(self._videos, turns)
