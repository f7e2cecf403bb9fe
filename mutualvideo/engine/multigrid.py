"""The multigrid schedule: how many clips, how long and how large, at which epoch.

Wu et al., "A multigrid method for efficiently training video models" (arXiv 1912.00998), with the
keys and the arithmetic of PySlowFast's ``slowfast/utils/multigrid.py``. Arithmetic alone: neither
data nor network is looked at.
"""

import itertools
import math
from dataclasses import dataclass
from statistics import mean

from mutualvideo.config import takes_pictures
from mutualvideo.errors import InputError

# The most MULTIGRID.EPOCH_FACTOR: beyond it somebody has typed a digit too many.
_LONGEST = 100


@dataclass(frozen=True)
class Phase:
    """Epochs whose steps are alike, or take turns alike.

    Args:
        begin, end: the first epoch, and the one after the last.
        factor: clips of a step of the long cycle over TRAIN.BATCH_SIZE; the learning rate is
            multiplied by it.
        frames: of a clip.
        sampling_rate: the largest distance between two of them, in frames at DATA.TARGET_FPS.
        turns: (clips over TRAIN.BATCH_SIZE, size in pixels) of the steps that come in turn; the
            last is that of the long cycle.
    """

    begin: int
    end: int
    factor: int
    frames: int
    sampling_rate: int
    turns: tuple


@dataclass(frozen=True)
class Schedule:
    """Which phase an epoch is in, and the learning rates that go with it.

    Args:
        phases: without gaps, from epoch 0 on.
        solver: section ``SOLVER`` of the configuration, with the epochs and steps of the schedule.
    """

    phases: tuple
    solver: object

    @property
    def epochs(self):
        """Of the whole training."""
        return self.phases[-1].end

    def phase(self, epoch):
        """The :class:`Phase` of ``epoch``, a number that need not be whole; later: the last."""
        return next((one for one in self.phases if epoch < one.end), self.phases[-1])

    def factor(self, epoch):
        """What the learning rate at ``epoch`` is multiplied by."""
        return self.phase(epoch).factor


def is_on(cfg):
    """Whether steps differ from one another."""
    return cfg.MULTIGRID.SHORT_CYCLE or cfg.MULTIGRID.LONG_CYCLE


def build_schedule(cfg):
    """The :class:`Schedule` of ``cfg``; without multigrid one phase of steps that are all alike.

    Raises:
        InputError: naming the key that no schedule can be made of.
    """
    data, solver = cfg.DATA, cfg.SOLVER
    if not is_on(cfg):
        turns = ((1, data.TRAIN_CROP_SIZE),)
        phase = Phase(0, solver.MAX_EPOCH, 1, data.NUM_FRAMES, data.SAMPLING_RATE, turns)
        return Schedule((phase,), solver)
    _check(cfg)
    if not cfg.MULTIGRID.LONG_CYCLE:
        solver = solver.clone()
        for_all = cfg.MULTIGRID.EPOCH_FACTOR
        solver.STEPS = [float(int(step * for_all)) for step in solver.STEPS]
        if len(set(solver.STEPS)) < len(set(cfg.SOLVER.STEPS)):
            raise InputError(
                f"MULTIGRID.EPOCH_FACTOR {for_all:g} leaves no epoch between some of SOLVER.STEPS "
                f"{cfg.SOLVER.STEPS}: raise it"
            )
        solver.MAX_EPOCH = int(solver.MAX_EPOCH * for_all)
        if solver.MAX_EPOCH < 1:
            raise _no_epoch(cfg)
        phase = _phase(cfg, 0, solver.MAX_EPOCH, _shapes(cfg, (1.0, 1.0)))
        return Schedule((phase,), solver)
    return _long_cycle(cfg)


def is_validated(schedule, epochs_done, times):
    """Whether the epoch before ``epochs_done`` is one of the ``times`` of its phase's validations.

    Spread evenly, the end of the phase among them (MULTIGRID.EVAL_FREQ).
    """
    phase = schedule.phase(epochs_done - 1)
    period = max((phase.end - phase.begin) // times + 1, 1)
    return (phase.end - epochs_done) % period == 0


def _long_cycle(cfg):
    """Every shape takes as many steps as any other; epochs follow from how many clips it has."""
    solver, cycle = cfg.SOLVER, [_shapes(cfg, pair) for pair in cfg.MULTIGRID.LONG_CYCLE_FACTORS]
    clips = [mean(factor for factor, *_ in shapes) for shapes in cycle]
    stages = list(itertools.pairwise(solver.STEPS))
    # (stage of the rates, shapes, epochs before they are stretched to what EPOCH_FACTOR wants)
    planned, steps = [], 0.0
    for stage, (begin, end) in enumerate(stages):
        for shapes, each in zip(cycle, clips, strict=True):
            planned.append((stage, shapes, (end - begin) * each / sum(clips)))
            steps += (end - begin) / sum(clips)
    # What follows the last of STEPS is cut to the same share of its steps.
    saved = solver.STEPS[-1] / steps
    last = (solver.MAX_EPOCH - solver.STEPS[-1]) / saved * clips[-1]
    planned.append((len(stages), cycle[-1], last))
    stretch = solver.MAX_EPOCH * cfg.MULTIGRID.EPOCH_FACTOR / sum(one[2] for one in planned)
    ends = [round(stretch * sum(one[2] for one in planned[: n + 1])) for n in range(len(planned))]
    begins = [0, *ends[:-1]]
    phases, starts = [], {}
    for begin, end, (stage, shapes, _) in zip(begins, ends, planned, strict=True):
        if begin < end:
            phases.append(_phase(cfg, begin, end, shapes))
            starts[begin] = stage
    if not phases:
        raise _no_epoch(cfg)
    # The first half of the last part is trained at the rate before it, as in PySlowFast.
    if begins[-1] < ends[-1]:
        del starts[begins[-1]]
        starts |= {begins[-1]: len(stages) - 1, (begins[-1] + ends[-1]) // 2: len(stages)}
    solver = solver.clone()
    solver.MAX_EPOCH = ends[-1]
    solver.STEPS = [float(start) for start in starts]
    if solver.LR_POLICY != "cosine":
        solver.LRS = [cfg.SOLVER.LRS[stage] for stage in starts.values()]
    return Schedule(tuple(phases), solver)


def _no_epoch(cfg):
    return InputError(
        f"MULTIGRID.EPOCH_FACTOR {cfg.MULTIGRID.EPOCH_FACTOR:g} of SOLVER.MAX_EPOCH "
        f"{cfg.SOLVER.MAX_EPOCH} leaves no whole epoch: raise it"
    )


def _shapes(cfg, factors):
    """``[(clips over TRAIN.BATCH_SIZE, frames, size), ...]`` of the turns, the base shape last."""
    frames, size = cfg.DATA.NUM_FRAMES, cfg.DATA.TRAIN_CROP_SIZE
    base = round(frames * factors[0]), round(size * factors[1])
    sizes = [base[1]]
    if cfg.MULTIGRID.SHORT_CYCLE:
        shorter = [min(base[1], size * share) for share in cfg.MULTIGRID.SHORT_CYCLE_FACTORS]
        sizes = [*shorter, base[1]]
    if min(base[0], *map(round, sizes)) < 1:
        raise InputError(f"MULTIGRID: factors {list(factors)} leave no frame or no pixel")
    whole, most = frames * size**2, _most(cfg)
    return [(min(round(whole / (base[0] * one**2)), most), base[0], one) for one in sizes]


def _most(cfg):
    return cfg.MULTIGRID.MAX_BATCH_FACTOR or math.inf


def _phase(cfg, begin, end, shapes):
    """Clips of the short cycle's turns are multiples of the long cycle's, as in PySlowFast."""
    factor, frames, size = shapes[-1]
    factors = [factor * max(1, round((size / one) ** 2)) for *_, one in shapes]
    turns = [
        (min(each, _most(cfg)), round(one)) for each, (*_, one) in zip(factors, shapes, strict=True)
    ]
    rate = cfg.DATA.SAMPLING_RATE * max(1, cfg.DATA.NUM_FRAMES // frames)
    return Phase(begin, end, max(1, factor), frames, rate, tuple(turns))


def _check(cfg):
    grid, solver = cfg.MULTIGRID, cfg.SOLVER
    if takes_pictures(cfg):
        raise InputError(
            f"MULTIGRID is of clips, and MODEL.MODEL_NAME {cfg.MODEL.MODEL_NAME} takes pictures: "
            "set MULTIGRID.SHORT_CYCLE and MULTIGRID.LONG_CYCLE to False"
        )
    if cfg.MUTUAL.SUBNET:
        raise InputError(
            f"MUTUAL.SUBNET {cfg.MUTUAL.SUBNET} trains alone, at its own frames and size: set "
            "MULTIGRID.SHORT_CYCLE and MULTIGRID.LONG_CYCLE to False"
        )
    if not 0 < grid.EPOCH_FACTOR <= _LONGEST:
        raise InputError(
            f"MULTIGRID.EPOCH_FACTOR must be above 0 and at most {_LONGEST}, got "
            f"{grid.EPOCH_FACTOR:g}"
        )
    for key in ("BN_BASE_SIZE", "EVAL_FREQ"):
        if grid[key] < 1:
            raise InputError(f"MULTIGRID.{key} must be at least 1, got {grid[key]}")
    if grid.MAX_BATCH_FACTOR < 0:
        raise InputError(
            "MULTIGRID.MAX_BATCH_FACTOR must be at least 1, or 0 for no limit, got "
            f"{grid.MAX_BATCH_FACTOR}"
        )
    pairs = grid.LONG_CYCLE_FACTORS
    if not pairs or any(len(pair) != 2 or not all(0 < one <= 1 for one in pair) for pair in pairs):
        raise InputError(
            "MULTIGRID.LONG_CYCLE_FACTORS must be pairs of shares of frames and size, above 0 and "
            f"at most 1, got {pairs}"
        )
    short = grid.SHORT_CYCLE_FACTORS
    if len(short) != 2 or not all(0 < one <= 1 for one in short):
        raise InputError(
            "MULTIGRID.SHORT_CYCLE_FACTORS must be two shares of the size, above 0 and at most 1, "
            f"got {short}"
        )
    steps = solver.STEPS
    rises = all(a < b for a, b in itertools.pairwise(steps))
    if grid.LONG_CYCLE and not (
        len(steps) > 1 and steps[0] == 0 and rises and steps[-1] < solver.MAX_EPOCH
    ):
        raise InputError(
            "MULTIGRID.LONG_CYCLE runs through its shapes between any two of SOLVER.STEPS, epochs "
            f"from 0 to below SOLVER.MAX_EPOCH {solver.MAX_EPOCH}, got {steps}: give at least "
            "two, such as two fifths and four fifths of them after the 0 (also where "
            "SOLVER.LR_POLICY cosine does not read them)"
        )
