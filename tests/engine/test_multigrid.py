"""Multigrid training: the schedule against figures worked out by hand, and whole runs."""

import itertools
import math
from collections import Counter
from fractions import Fraction

import pytest
import torch

from mutualvideo import Subnet
from mutualvideo.config import load_cfg
from mutualvideo.engine.dry_run import dry_run
from mutualvideo.engine.multigrid import build_schedule
from mutualvideo.engine.step_plan import StepPlan
from mutualvideo.engine.train import build_sampler, train
from mutualvideo.engine.update import Updater
from mutualvideo.errors import InputError
from mutualvideo.models import build_model, read_checkpoint
from mutualvideo.run.checkpoint import newest_checkpoint
from mutualvideo.run.distributed import Context
from mutualvideo.run.log import setup_logging
from mutualvideo.slim import count_macs
from tests.config.test_pyslowfast_files import as_yaml, lists
from tests.engine.logged import stats_of
from tests.networks import few_blocks, make_cfg

CPU = Context(torch.device("cpu"))
BOTH = {"MULTIGRID__SHORT_CYCLE": True, "MULTIGRID__LONG_CYCLE": True}
# Of PySlowFast's SLOWFAST_8x8_R50_stepwise_multigrid.yaml.
STEPWISE = {
    "DATA__NUM_FRAMES": 32,
    "DATA__SAMPLING_RATE": 2,
    "DATA__TRAIN_CROP_SIZE": 224,
    "DATA__TEST_CROP_SIZE": 224,
    "SOLVER__LR_POLICY": "steps_with_relative_lrs",
    "SOLVER__STEPS": [0, 94, 154, 196],
    "SOLVER__LRS": [1, 0.1, 0.01, 0.001, 0.0001, 0.00001],
    "SOLVER__MAX_EPOCH": 239,
    "SOLVER__WARMUP_EPOCHS": 34.0,
    "SOLVER__BASE_LR": 0.1,
    "TRAIN__BATCH_SIZE": 64,
}


def kinetics(**changes):
    return make_cfg("SlowFast", **{**STEPWISE, **BOTH, **changes})


def test_shapes_of_the_cycles_are_those_of_the_paper():
    """Figure 2 there: B x T x H x W of 8, 4, 2 and 1 times the clips; 112, 158 and 224 pixels."""
    phases = build_schedule(kinetics()).phases[:4]
    assert [(one.factor, one.frames) for one in phases] == [(8, 8), (4, 16), (2, 16), (1, 32)]
    # The distance of frames goes up to where a clip lasts as long as before.
    assert [one.sampling_rate for one in phases] == [8, 4, 4, 2]
    assert [one.turns for one in phases] == [
        ((16, 112), (8, 158), (8, 158)),
        ((8, 112), (4, 158), (4, 158)),
        ((8, 112), (4, 158), (2, 224)),
        ((4, 112), (2, 158), (1, 224)),
    ]


def test_epochs_by_hand():
    """PySlowFast's arithmetic with fractions: every shape of a cycle takes as many steps.

    Clips of a step over the default, by round(32 * 224^2 / (T * S^2)) with S of 112, 158.4 and the
    base's, on average over the three of the short cycle.
    """
    clips = [Fraction(32 + 16 + 16, 3), Fraction(16 + 8 + 8, 3), Fraction(16 + 8 + 4, 3)]
    clips = [one / 2 for one in clips[:2]] + [Fraction(8 + 4 + 2, 3), Fraction(4 + 2 + 1, 3)]
    steps, epochs = [0, 94, 154, 196], []
    for begin, end in itertools.pairwise(steps):
        epochs += [(end - begin) * one / sum(clips) for one in clips]
    taken = sum(epoch / one for epoch, one in zip(epochs, itertools.cycle(clips), strict=False))
    epochs.append((239 - 196) / (196 / taken) * clips[-1])
    stretch = Fraction(239) * Fraction(3, 2) / sum(epochs)
    ends = [round(stretch * one) for one in itertools.accumulate(epochs)]
    schedule = build_schedule(kinetics())
    assert [phase.end for phase in schedule.phases] == ends
    assert schedule.epochs == ends[-1] == 358  # one and a half times 239
    # The first half of the last part goes on at the rate before it.
    middle = (ends[-2] + ends[-1]) // 2
    assert schedule.solver.STEPS == [0, *ends[:-1], middle]
    assert schedule.solver.LRS == [1] * 4 + [0.1] * 4 + [0.01] * 5 + [0.001]


def test_rates_go_with_the_clips_of_the_long_cycle():
    plan = StepPlan(kinetics(), 240_000)
    rates = {}
    for epoch in range(34, plan.epochs):  # after the warm-up
        phase = plan.schedule.phase(epoch)
        rates.setdefault(phase.begin, plan.rate(plan.before(epoch)))
    factors, stages = [8, 4, 2, 1], [0.1, 0.01, 0.001]
    wanted = [rate * factor for rate in stages for factor in factors]
    assert list(rates.values()) == pytest.approx([*wanted, 0.001])
    assert plan.rate(plan.total - 1) == pytest.approx(0.0001)
    # The warm-up climbs to where the long cycle is by then: eight times the rate.
    assert plan.rate(0) == 0.01
    assert plan.rate(plan.before(17)) == pytest.approx((0.01 + 0.8) / 2)


def test_as_many_steps_as_the_paper_saves():
    """A step costs what it always did, and there are less than a third as many."""
    plan = StepPlan(kinetics(), 240_000)
    plain = StepPlan(kinetics(**dict.fromkeys(BOTH, False)), 240_000)
    assert plain.total == 239 * 3750
    # Each of the four shapes takes as many steps, of 10.7, 5.3, 4.7 and 2.3 times the clips. The
    # last part, 43 epochs, is cut in proportion, and all epochs are stretched to 358.
    mean = Fraction(32 + 16 + 14 + 7, 3) / 4
    stretch = Fraction(358) / (196 + 43 / mean * Fraction(7, 3))
    assert plain.total / plan.total == pytest.approx(float(mean / stretch), rel=0.01)
    assert sum(plan.all_kinds().values()) == plan.total
    for kind in plan.all_kinds():
        volume = kind.clips * 8 * kind.whole.frames * kind.size**2  # frames of the Slow pathway
        assert 0.4 < volume / (64 * 64 * 224**2) < 1.1


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_clips_than_allowed(most):
    """The shapes stay; with a factor of 1 they share a stage's epochs alike, at the plain rate."""
    keys = {"MULTIGRID__MAX_BATCH_FACTOR": most, "MULTIGRID__EPOCH_FACTOR": 1.0}
    schedule, paper = build_schedule(kinetics(**keys)), build_schedule(kinetics())
    for phase, without in zip(schedule.phases, paper.phases, strict=True):
        assert phase.factor == min(without.factor, most) and phase.frames == without.frames
        assert phase.turns == tuple((min(clips, most), size) for clips, size in without.turns)
    if most == 1:
        quarters = [94 / 4 * part for part in range(1, 5)]
        assert [phase.end for phase in schedule.phases[:4]] == [round(end) for end in quarters]
        assert StepPlan(kinetics(**keys), 240_000).total == 239 * 3750


def test_the_short_cycle_alone_shortens_the_schedule():
    schedule = build_schedule(kinetics(MULTIGRID__LONG_CYCLE=False))
    (phase,) = schedule.phases
    assert phase.turns == ((4, 112), (2, 158), (1, 224)) and schedule.epochs == 358
    assert schedule.solver.STEPS == [0, 141, 231, 294]  # int(1.5 * ...), as there
    assert StepPlan(kinetics(MULTIGRID__LONG_CYCLE=False), 240_000).rate(0) == 0.01


def test_a_cosine_takes_the_factor_and_runs_over_the_schedules_epochs():
    keys = {"SOLVER__LR_POLICY": "cosine", "SOLVER__WARMUP_EPOCHS": 0.0}
    plan = StepPlan(kinetics(**keys), 240_000)
    for epoch, factor in ((0, 8), (100, 4), (150, 1), (357, 1)):
        share = (math.cos(math.pi * epoch / 358) + 1) / 2
        assert plan.rate(plan.before(epoch)) == pytest.approx(0.1 * factor * share)
    with pytest.raises(InputError, match=r"SOLVER.STEPS, epochs .* got \[\]: give at least two"):
        build_schedule(kinetics(**keys, SOLVER__STEPS=[]))


@pytest.mark.parametrize(
    "keys, words",
    [
        ({"MULTIGRID__EPOCH_FACTOR": 0}, "MULTIGRID.EPOCH_FACTOR must be above 0"),
        ({"MULTIGRID__EPOCH_FACTOR": 0.001}, "leaves no whole epoch"),
        ({"MULTIGRID__EPOCH_FACTOR": 1e9}, "EPOCH_FACTOR must be above 0 and at most 100, got 1e"),
        ({"MULTIGRID__BN_BASE_SIZE": 0}, "MULTIGRID.BN_BASE_SIZE must be at least 1"),
        ({"MULTIGRID__MAX_BATCH_FACTOR": -1}, "MULTIGRID.MAX_BATCH_FACTOR must be at least 1"),
        ({"MULTIGRID__LONG_CYCLE_FACTORS": [[0.5]]}, "MULTIGRID.LONG_CYCLE_FACTORS must be pairs"),
        ({"MULTIGRID__LONG_CYCLE_FACTORS": [[2, 1]]}, "at most 1"),
        ({"MULTIGRID__SHORT_CYCLE_FACTORS": [0.5]}, "MULTIGRID.SHORT_CYCLE_FACTORS must be two"),
        ({"MULTIGRID__LONG_CYCLE_FACTORS": [[0.001, 1]]}, "leave no frame"),
        ({"MUTUAL__MODE": "single", "MUTUAL__SUBNET": "1x4x158"}, "1x4x158 trains alone, at its"),
        (
            {"MULTIGRID__LONG_CYCLE": False, "MULTIGRID__EPOCH_FACTOR": 0.01},
            "EPOCH_FACTOR 0.01 leaves no epoch between some of SOLVER.STEPS",
        ),
    ],
)
def test_what_no_schedule_can_be_made_of(keys, words):
    with pytest.raises(InputError, match=words):
        build_schedule(kinetics(**keys))


def test_pictures_and_sizes_too_small_and_lists_too_short():
    with pytest.raises(InputError, match="MULTIGRID is of clips, and .* ImageResNet takes pict"):
        build_schedule(make_cfg("ImageResNet", **BOTH, MODEL__DROPOUT_RATE=0))
    plan = StepPlan(make_cfg("X3D", DATA__TRAIN_CROP_SIZE=48, SOLVER__STEPS=[0, 2], **BOTH), 10_000)
    with pytest.raises(InputError, match="CYCLE_FACTORS: clips of 1 frames and 24 pixels"):
        plan.all_kinds()
    with pytest.raises(InputError, match="holds 100 videos, fewer than the 1024 clips of a step"):
        StepPlan(kinetics(), 100)


def test_places_and_counts_of_steps_agree():
    plan = StepPlan(kinetics(TRAIN__BATCH_SIZE=4), 1000)
    step, seen = 0, Counter()
    for epoch in range(plan.epochs):
        assert plan.before(epoch) == step
        # By trying: batches of the turns until the videos are used up.
        left, turns = 1000, itertools.cycle(plan.schedule.phase(epoch).turns)
        for position in itertools.count():
            factor, size = next(turns)
            left -= 4 * factor
            if left < 0:
                break
            if epoch % 20 == 0:
                assert plan.place(step) == (epoch, position)
                assert (plan.step(step).clips, plan.step(step).size) == (4 * factor, size)
            seen[plan.step(step)] += 1
            step += 1
    assert plan.total == step and plan.all_kinds() == seen
    middle = step // 3
    parts = plan.all_kinds(0, middle), plan.all_kinds(middle)
    assert sum(parts[0].values()) == middle
    assert Counter(parts[0]) + Counter(parts[1]) == seen


@pytest.mark.parametrize(
    "keys, world_size, wanted",
    [
        ({}, 8, [8, 4, 2, 1]),  # 64 clips on 8 GPUs, as PySlowFast splits them
        ({"MULTIGRID__BN_BASE_SIZE": 64}, 1, [8, 4, 2, 1]),
        # Fewer than 8 a process: the same part of all processes.
        ({"TRAIN__BATCH_SIZE": 16, "BN__NORM_TYPE": "sync_batchnorm"}, 8, [16, 8, 4, 2]),
        ({"TRAIN__BATCH_SIZE": 16}, 8, [2, 1, 1, 1]),
    ],
)
def test_how_many_clips_batch_norm_sees(keys, world_size, wanted):
    plan = StepPlan(kinetics(**keys), 240_000, world_size)
    assert [plan.kinds(phase.begin)[0].norm_parts for phase in plan.schedule.phases[:4]] == wanted


# Whole runs.
GRID = {
    "MULTIGRID__SHORT_CYCLE": True,
    "MULTIGRID__LONG_CYCLE": True,
    "MULTIGRID__LONG_CYCLE_FACTORS": [[0.5, 0.8], [1.0, 1.0]],
    "MULTIGRID__SHORT_CYCLE_FACTORS": [0.8, 0.9],
    "MULTIGRID__EPOCH_FACTOR": 1.0,
    "MULTIGRID__BN_BASE_SIZE": 2,
    "TRAIN__BATCH_SIZE": 2,
    "SOLVER__STEPS": [0, 3],
    "SOLVER__MAX_EPOCH": 4,
}


def run(cfg):
    setup_logging(cfg.OUTPUT_DIR, True)
    return train(cfg, CPU)


def test_a_run_does_what_the_plan_says_and_goes_on_within_a_cycle(tiny, tmp_path, monkeypatch):
    keys = {**GRID, "TRAIN__MICRO_BATCHES": 2, "DATA__CACHE": 0.1, "TRAIN__EMA_DECAY": 0.5}
    whole, cut = (tiny(OUTPUT_DIR=tmp_path / name, **keys) for name in ("whole", "cut"))
    plan, sampler = StepPlan(whole, 8), build_sampler(whole)
    shapes, take = [], Updater.__call__

    def call(self, clips, targets, subnets, *rest):
        shapes.append((tuple(clips.shape), subnets[0], rest[-1]))
        return take(self, clips, targets, subnets, *rest)

    monkeypatch.setattr(Updater, "__call__", call)
    run(whole)
    kinds = [plan.step(number) for number in range(plan.total)]
    assert len({(kind.clips, kind.size) for kind in kinds}) >= 3
    assert shapes == [
        ((k.clips, 3, k.whole.frames, k.size, k.size), k.whole, k.norm_parts) for k in kinds
    ]
    lines = [line for line in stats_of(whole) if line["_type"] == "train_iter"]
    drawn = [sampler.draw(number, kind.whole) for number, kind in enumerate(kinds)]
    assert [one["subnet"] for one in lines] == [str(one) for step in drawn for one in step]
    rates = [line["lr"] for line in lines if line["role"] == "full"]
    assert rates == pytest.approx([plan.rate(number) for number in range(plan.total)], abs=1e-5)
    monkeypatch.undo()

    cut.TRAIN.TIME_LIMIT = 1e-9  # every start takes a step
    for _ in range(plan.total - 1):
        assert run(cut) is None
    assert run(cut)
    mine, theirs = (read_checkpoint(newest_checkpoint(one.OUTPUT_DIR)) for one in (cut, whole))
    assert mine["progress"] == theirs["progress"]
    for part in ("model_state", "ema_state"):
        for name, tensor in theirs[part].items():
            torch.testing.assert_close(mine[part][name], tensor, rtol=0, atol=0)


def test_pyslowfasts_files_make_the_schedule_that_was_worked_out(tmp_path):
    """The three that it has, as they are; the Kinetics one makes the schedule checked above."""
    found = {name: values for name, values in lists().items() if name.endswith("multigrid")}
    assert len(found) == 3
    for name, values in found.items():
        path = tmp_path / f"{name.replace('/', '_')}.yaml"
        path.write_text(as_yaml(values))
        schedule = build_schedule(load_cfg(path))
        assert all(len(phase.turns) == 3 for phase in schedule.phases)
        if name.startswith("Kinetics"):
            assert schedule.phases == build_schedule(kinetics()).phases
            assert schedule.solver.STEPS == build_schedule(kinetics()).solver.STEPS


def test_the_dry_run_counts_every_kind_of_step(tiny):
    cfg, lines = tiny(**GRID, MUTUAL__MODE="single"), []
    found = dry_run(cfg, CPU, lines.append)
    plan = StepPlan(cfg, 8)
    model, total, clips = build_model(cfg), 0, 0
    for kind, count in plan.all_kinds().items():
        total += count * kind.clips * count_macs(model, kind.whole)
        clips += count * kind.clips
    base = 2 * count_macs(model, Subnet(1, 4, 40))
    assert found.total_s == pytest.approx(total / base * found.step_s + clips / 2 * found.data_s)
    text = "\n".join(lines)
    assert f"MULTIGRID: {plan.total} steps in 4 epochs, 16 in 4 without it" in text
    assert "epochs 1 to 2: 1 steps each, clips 6 of 2 x 32; rate x 3" in text


@pytest.mark.parametrize("alone", [0, 2])
def test_the_dry_run_tells_what_multigrid_computes(tiny, alone):
    """Against the multiply-adds of every step of both runs, drawn as they are drawn in training."""
    keys = {"MUTUAL__ALONE_EPOCHS": alone, "MUTUAL__WIDTHS": [1.0], "MUTUAL__FRAMES": [4]}
    keys |= {"MUTUAL__SIZES": [40], "MUTUAL__WIDTH_RANGE": [1.0, 1.0], "MUTUAL__NUM_RANDOM": 0}
    lines, found = [], []
    dry_run(tiny(**GRID, **keys), CPU, lines.append)
    without = {key: value for key, value in GRID.items() if not key.startswith("MULTIGRID")}
    for cfg in (tiny(**GRID, **keys), tiny(**without, **keys)):
        plan = StepPlan(cfg, 8)
        sampler, model = build_sampler(cfg, plan.before(alone)), build_model(cfg)
        found.append(0)
        for number in range(plan.total):
            kind = plan.step(number)
            for subnet in sampler.draw(number, kind.whole):
                found[-1] += kind.clips * count_macs(model, subnet)
    assert f" {100 * found[0] / found[1]:.0f} % of its multiply-adds" in "\n".join(lines)


def test_evaluation_is_due_as_often_in_each_phase():
    """PySlowFast's rule: EVAL_FREQ times a phase, its end among them."""
    plan = StepPlan(kinetics(TRAIN__EVAL_PERIOD=10), 240_000)
    due = [done for done in range(1, plan.epochs) if plan.is_validated(done)]
    ends = [phase.end for phase in plan.schedule.phases]
    assert set(ends[:-1]) <= set(due)
    first = [done for done in due if done <= 73]
    assert first == [23, 48, 73]  # 73 // 3 + 1 = 25 apart, back from the end
    assert not StepPlan(kinetics(TRAIN__EVAL_PERIOD=0), 240_000).is_validated(73)


def test_sub_networks_are_cut_to_the_steps_clip(tiny):
    sampler = build_sampler(tiny(MUTUAL__NUM_RANDOM=8))
    for step in range(20):
        drawn, clip = sampler.draw(step), Subnet(1, 3, 36)
        found = sampler.draw(step, clip)
        wanted = [Subnet(s.width, min(s.frames, 3), min(s.size, 36)) for s in drawn]
        assert found == list(dict.fromkeys(wanted)) and found[0] == clip


@pytest.mark.slow
def test_pyslowfasts_file_trains(video_folder, tmp_path):
    """SLOWFAST_8x8_R50_stepwise_multigrid.yaml as it is loaded, made small by overrides alone."""
    path = tmp_path / "SLOWFAST_8x8_R50_stepwise_multigrid.yaml"
    path.write_text(as_yaml(lists()[f"Kinetics/{path.stem}"]))
    names = ("DATA__TRAIN_CROP_SIZE", "DATA__TEST_CROP_SIZE", "SOLVER__STEPS", "SOLVER__MAX_EPOCH")
    keys = {**dict.fromkeys(names[:2], 64), names[2]: [0, 2], names[3]: 3}
    keys |= {"SOLVER__WARMUP_EPOCHS": 0.0, "MULTIGRID__EPOCH_FACTOR": 1.0, "LOG_PERIOD": 1}
    keys |= {"DATA__PATH_TO_DATA_DIR": video_folder, "OUTPUT_DIR": tmp_path / "run"}
    keys |= {"DATA__TRAIN_JITTER_SCALES": [64, 80], "MODEL__NUM_CLASSES": 2}
    keys |= {"DATA_LOADER__NUM_WORKERS": 0, "TRAIN__BATCH_SIZE": 1, "TRAIN__EVAL_PERIOD": 0}
    # Sixteen clips a step would be more than the eight videos that there are.
    keys |= {"MULTIGRID__SHORT_CYCLE_FACTORS": [0.6, 0.5**0.5], "SLOWFAST__ALPHA": 4}
    given = [(key.replace("__", "."), str(value)) for key, value in keys.items()]
    with few_blocks():
        cfg = load_cfg(path, [text for pair in given for text in pair])
        assert cfg.MULTIGRID.LONG_CYCLE and cfg.MULTIGRID.SHORT_CYCLE
        assert cfg.DATA.NUM_FRAMES == 32 and cfg.SOLVER.LR_POLICY == "steps_with_relative_lrs"
        plan = StepPlan(cfg, 8)
        assert run(cfg)
    lines = [line for line in stats_of(cfg) if line.get("role") == "full"]
    assert len(lines) == plan.total and len(plan.schedule.phases) >= 3
    # The Slow pathway has a quarter of the frames.
    assert [line["subnet"] for line in lines] == [
        str(plan.step(number).whole) for number in range(plan.total)
    ]
    assert {plan.step(n).whole.frames for n in range(plan.total)} >= {2, 4, 8}
    assert all(math.isfinite(line["loss"]) for line in lines)


def test_a_cycle_of_the_whole_shape_alone_is_the_plain_run(tiny, tmp_path):
    keys = {"SOLVER__MAX_EPOCH": 2, "SOLVER__STEPS": [0, 1], "MUTUAL__NUM_RANDOM": 1}
    plain = tiny(OUTPUT_DIR=tmp_path / "plain", **keys)
    grid = {"LONG_CYCLE": True, "LONG_CYCLE_FACTORS": [[1.0, 1.0]], "EPOCH_FACTOR": 1.0}
    keys |= {f"MULTIGRID__{key}": value for key, value in grid.items()}
    paths = [run(cfg) for cfg in (plain, tiny(OUTPUT_DIR=tmp_path / "grid", **keys))]
    mine, theirs = (read_checkpoint(path)["model_state"] for path in paths)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
