"""How long the steps of a run take, by one that was timed and what the others cost beside it."""

import statistics
from dataclasses import dataclass

from mutualvideo.engine.step_plan import Step
from mutualvideo.slim import count_costs, training_shape

# How many draws of sub-networks are averaged for a kind of step.
_DRAWS = 8


@dataclass(frozen=True)
class Share:
    """What a kind of step takes, over what the step that was timed takes.

    Args:
        computing: multiply-adds.
        data: clips.
        alone: multiply-adds, if the full network is alone.
    """

    computing: float
    data: float
    alone: float


def shares_of(plan, model, sampler, macs):
    """``{Step: Share}`` of all steps of ``plan``.

    Args:
        plan: :class:`~mutualvideo.engine.step_plan.StepPlan`.
        model: the slimmable network.
        sampler: what draws the sub-networks of steps.
        macs: of a clip in the step that was timed, of TRAIN.BATCH_SIZE clips.
    """
    found = {}
    for step in plan.all_kinds():
        full = sampler.full.within(step.whole)
        draws = [sampler.draw(sampler.alone + n, step.whole) for n in range(_DRAWS)]
        with training_shape(model, full):
            costs = count_costs(model, list(dict.fromkeys(one for draw in draws for one in draw)))
        mean = statistics.mean(sum(costs[one].macs for one in draw) for draw in draws)
        clips = step.clips / plan.batch_size
        found[step] = Share(clips * mean / macs, clips, clips * costs[full].macs / macs)
    return found


def time_left(plan, shares, done, first, timed, has_workers):
    """Seconds of the steps that are left after ``done``.

    Args:
        plan, shares: see :func:`shares_of`.
        done: steps done; in the ``first`` ones the full network is alone.
        first: see there.
        timed: (seconds of computing, seconds for data) of the step that was timed.
        has_workers: whether both go on at once.
    """
    step_s, data_s = timed
    join = max if has_workers else lambda one, other: one + other
    first = max(first, done)
    alone, left = plan.all_kinds(done, first), plan.all_kinds(first)
    total = 0.0
    for counts, name in ((alone, "alone"), (left, "computing")):
        for step, count in counts.items():
            share = shares[step]
            total += count * join(step_s * getattr(share, name), data_s * share.data)
    return total


def multigrid_lines(plan, cfg, shares, first):
    """What the epochs are, in a line for each phase, and what they compute in all.

    Args:
        plan: :class:`~mutualvideo.engine.step_plan.StepPlan`.
        cfg: the configuration.
        shares: see :func:`shares_of`; also that of a step without MULTIGRID.
        first: in so many steps the full network is alone.
    """
    for phase in plan.schedule.phases:
        kinds = dict.fromkeys(plan.kinds(phase.begin))
        shapes = [f"{one.clips} of {phase.frames} x {one.size}" for one in kinds]
        yield (
            f"  epochs {phase.begin + 1} to {phase.end}: {plan.steps_of(phase.begin)} steps each, "
            f"clips {', '.join(shapes)}; rate x {phase.factor}"
        )
    computing = sum(shares[step].alone * n for step, n in plan.all_kinds(0, first).items())
    computing += sum(shares[step].computing * n for step, n in plan.all_kinds(first).items())
    plain = shares[Step(plan.batch_size)]
    alone = min(1, cfg.MUTUAL.ALONE_EPOCHS / cfg.SOLVER.MAX_EPOCH)
    without = plan.plain_total * (alone * plain.alone + (1 - alone) * plain.computing)
    yield (
        f"MULTIGRID: {plan.total} steps in {plan.epochs} epochs, "
        f"{plan.plain_total} in {cfg.SOLVER.MAX_EPOCH} without it; "
        f"{100 * computing / without:.0f} % of its multiply-adds"
    )
