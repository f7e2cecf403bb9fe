"""The log of a run, as people, scripts and TensorBoard read it."""

import re

import pytest
import simplejson
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mutualvideo import Subnet
from mutualvideo.engine import watch as watch_module
from mutualvideo.engine.curves import plot_training, read_curves
from mutualvideo.engine.step_plan import StepPlan
from mutualvideo.engine.train import build_sampler, train
from mutualvideo.engine.watch import Watch
from mutualvideo.errors import InputError
from mutualvideo.run.distributed import Context
from mutualvideo.run.durations import clock_time
from mutualvideo.run.log import log_json_stats, setup_logging
from mutualvideo.run.progress import Progress
from tests.engine.logged import stats, stats_of
from tests.networks import make_cfg

CPU = Context(torch.device("cpu"))
LINE = re.compile(
    r"epoch (\d+)/(\d+), step (\d+)/(\d+): (.*); ([\d.]+) s a step, ([\d.]+) s waiting for data, "
    r"([\d.]+) (clips|images)/s, (\d+:\d\d:\d\d) left$"
)
PART = re.compile(r"(\w+) (\S+) loss ([\d.]+) top-1 ([\d.]+) %")


class Kept:
    """Stands for ``Scalars``."""

    def __init__(self):
        self.values = {}

    def add(self, values, step):
        self.values.update({(name, step): value for name, value in values.items()})


class Hand:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self):
        return self.now


def made_up(caplog, cfg, steps):
    scalars, clock = Kept(), Hand()
    caplog.set_level("INFO", watch_module.logger.name)
    plan = StepPlan(cfg, steps * cfg.TRAIN.BATCH_SIZE)
    return Watch(cfg, plan, scalars, clock), scalars, clock


def walk(watch, clock, step, wait, work):
    """One step that waits and works for so many seconds; whether a line is due."""
    clock.now += wait
    watch.data_came()
    clock.now += work
    return watch.step_done(step)


def human(text):
    text = re.sub(r"\n +", " ", text)  # long lines are broken
    return [LINE.search(line).groups() for line in text.splitlines() if LINE.search(line)]


def test_times_are_means_over_the_steps_since_the_last_line(caplog):
    cfg = make_cfg("X3D", LOG_PERIOD=3, SOLVER__MAX_EPOCH=2, TRAIN__BATCH_SIZE=12)
    watch, scalars, clock = made_up(caplog, cfg, 7)
    found = [(Subnet(1, 4, 64), 2.0, 75.0)]
    steps = [(0.5, 1.0), (0.0, 2.0), (0.1, 2.4), (1.0, 5.0), (0.0, 2.0), (0.5, 0.5)]
    due = []
    for step, (wait, work) in enumerate(steps):
        due.append(walk(watch, clock, step, wait, work))
        if due[-1]:
            watch.line(step, 0.1, found)
    assert due == [False, False, True] * 2
    first, second = human(caplog.text)
    assert first[:4] == ("1", "2", "3", "7") and first[4] == "full 1x4x64 loss 2.0000 top-1 25.00 %"
    # (0.5 + 1 + 2 + 0.1 + 2.4) / 3 = 2 s a step of 12 clips; 11 of 14 steps are left.
    assert first[5:] == ("2.000", "0.200", "6.0", "clips", "0:00:22")
    assert second[5:9] == ("3.000", "0.500", "4.0", "clips")
    assert scalars.values["step/clips_per_s", 5] == pytest.approx(4)
    # The mean of late of 2 and 3 s, for 8 more steps.
    assert 8 * 2 < scalars.values["step/eta_s", 5] < 8 * 3


def test_what_happens_between_epochs_is_part_of_no_step(caplog):
    cfg = make_cfg("WideResNet", LOG_PERIOD=1, SOLVER__MAX_EPOCH=3, TRAIN__BATCH_SIZE=8)
    watch, scalars, clock = made_up(caplog, cfg, 2)
    clock.now += 1000
    # Resumed: the first step of this process is the third of six.
    watch.epoch_begins()
    assert walk(watch, clock, 2, 1.0, 3.0)
    watch.line(2, 0.1, [(Subnet(1, None, 64), 1.0, 50.0), (Subnet(0.7, None, 48), 1.0, 50.0)])
    (line,) = human(caplog.text)
    assert line[:4] == ("2", "3", "1", "2")
    assert line[5:] == ("4.000", "1.000", "2.0", "images", "0:00:12")
    assert scalars.values["drawn/width_narrowest", 2] == 0.7
    assert scalars.values["drawn/size_narrowest", 2] == 48
    assert not any("frames" in name for name, _ in scalars.values)
    watch.epoch_done(Progress(1, 2, 15.0, 6, 10, 1, {3: "a.png: is damaged"}), 0.1)
    clock.now += 6  # validated
    watch.epoch_line([("full", 47.25), ("narrowest", 35.0)])
    # One step of two took 10 s, and there is one more epoch.
    assert (
        "epoch 2/3 train loss 1.5000 top-1 60.00 %, 1 images replaced, 1 steps skipped"
        " · val full 47.2 % narrowest 35.0 % · 0:00:10, 0:00:20 left"
    ) in caplog.text
    assert "replaced in epoch 2: a.png: is damaged" in caplog.text
    assert scalars.values["train/loss", 4] == 1.5


@pytest.mark.parametrize(
    "seconds, text",
    [
        *[(0, "0:00:00"), (59.6, "0:01:00"), (3599, "0:59:59"), (3599.6, "1 h 00 min")],
        *[(3900, "1 h 05 min"), (86_370, "24 h 00 min"), (1_000_000, "11 d 14 h")],
    ],
)
def test_clock_time(seconds, text):
    assert clock_time(seconds) == text


def judged(text):
    return re.findall(r"after 10 steps: training will take about (.*?); validation.*", text)


def test_after_ten_steps_it_is_known_how_long_training_will_take(caplog):
    cfg = make_cfg("X3D", LOG_PERIOD=50, SOLVER__MAX_EPOCH=10)
    watch, _, clock = made_up(caplog, cfg, 131)
    for step in range(131):
        # The first starts everything; then 3 s each, as the 1,300 that are left.
        walk(watch, clock, step, 10.0 if step == 0 else 1.0, 2.0)
        assert judged(caplog.text) == (["1 h 06 min in all"] if step >= 9 else [])
    watch.epoch_begins()
    walk(watch, clock, 131, 1.0, 2.0)
    assert len(judged(caplog.text)) == 1 and "no longer alone" not in caplog.text


def test_ten_steps_of_a_run_that_goes_on_or_has_short_epochs(caplog):
    cfg = make_cfg("X3D", SOLVER__MAX_EPOCH=30, MUTUAL__ALONE_EPOCHS=29)
    watch, _, clock = made_up(caplog, cfg, 4)
    for step in range(6, 24):
        if step % 4 == 0:
            clock.now += 1000  # validation
            watch.epoch_begins()
        walk(watch, clock, step, 1.0, 9.0)
    # Step 15 is the tenth, and 104 are left.
    assert judged(caplog.text) == ["0:17:20 more"] and "no longer alone" in caplog.text


def test_a_run_of_ten_steps_is_over_when_it_would_be_judged(caplog):
    watch, _, clock = made_up(caplog, make_cfg("X3D", SOLVER__MAX_EPOCH=1), 10)
    for step in range(10):
        walk(watch, clock, step, 1.0, 1.0)
    assert judged(caplog.text) == []


def test_a_period_of_no_steps_is_refused():
    with pytest.raises(InputError, match="LOG_PERIOD must be at least 1, not 0"):
        Watch(cfg := make_cfg("X3D", LOG_PERIOD=0), StepPlan(cfg, cfg.TRAIN.BATCH_SIZE), Kept())


def test_the_lines_of_a_run_say_the_same(tiny):
    cfg = tiny(SOLVER__MAX_EPOCH=2)
    setup_logging(cfg.OUTPUT_DIR, True)
    train(cfg, CPU)
    with open(f"{cfg.OUTPUT_DIR}/stdout.log") as file:
        text = file.read()
    lines, sampler = human(text), build_sampler(cfg)
    assert max(map(len, text.splitlines())) <= 120 and "json_stats" not in text
    assert not re.search(r"\d\n +(%|s\b|clips)", text)  # a number keeps its unit
    steps = [line for line in stats_of(cfg) if line["_type"] == "train_iter"]
    events = EventAccumulator(f"{cfg.OUTPUT_DIR}/tensorboard")
    events.Reload()
    assert [line[:4] for line in lines] == [(e, "2", s, "2") for e in "12" for s in "12"]
    for step, line in enumerate(lines):
        parts = PART.findall(line[4])
        assert [part[0] for part in parts] == ["full", "narrowest", "random1", "random2"]
        assert [part[1] for part in parts] == [str(subnet) for subnet in sampler.draw(step)]
        for (role, subnet, loss, top1), json in zip(parts, steps[4 * step :], strict=False):
            assert (role, subnet) == (json["role"], json["subnet"])
            assert float(loss) == pytest.approx(json["loss"], abs=1e-4)
            assert float(top1) == pytest.approx(100 - json["top1_err"], abs=0.01)
            assert float(line[5]) == pytest.approx(json["dt"], abs=1e-3)
            assert float(line[6]) == pytest.approx(json["dt_data"], abs=1e-3)
            width = events.Scalars(f"drawn/width_{role}")[step]
            assert width.step == step
            assert width.value == pytest.approx(Subnet.parse(subnet).width, abs=1e-3)
        rate = events.Scalars("step/clips_per_s")[step].value
        assert rate == pytest.approx(4 / steps[4 * step]["dt"], rel=1e-3)
        assert rate == pytest.approx(float(line[7]), abs=0.1)
    assert lines[-1][9] == "0:00:00" and steps[-1]["eta_s"] == 0
    assert len(re.findall(r"epoch \d/2 train loss .* · 0:0\d:\d\d, 0:0\d:\d\d left\n", text)) == 2
    found = read_curves(f"{cfg.OUTPUT_DIR}/stats.jsonl")
    assert [epoch for epoch, _ in found["loss"]] == [1, 2]
    with Image.open(f"{cfg.OUTPUT_DIR}/training.png") as picture:
        assert picture.size == (1200, 480)


def test_an_epoch_of_few_steps_has_its_line(caplog):
    watch, _, clock = made_up(caplog, make_cfg("X3D", LOG_PERIOD=10), 3)
    assert [walk(watch, clock, step, 0.1, 0.1) for step in range(6)] == [False, False, True] * 2


def test_curves_are_those_of_the_last_try(tmp_path):
    lines = [
        '{"_type": "train_epoch", "epoch": "1/3", "loss": 2.0, "top1_err": 75.0}',
        '{"_type": "train_epoch", "epoch": "2/3", "loss": 1.5, "top1_err": 50.0}',
        '{"_type": "val_epoch", "epoch": "2/3", "subnet": "1x8x48", "top1_err": 40.0}',
        '{"_type": "train_iter", "epoch": 3, "loss": 9.0}',
        '{"_type": "train_epoch", "epoch": "3/3", "loss": null, "top1_err": null}',
        '{"_type": "train_epoch", "epoch": "2/3", "loss": 1.25, "top1_err": 45.0}',
        '{"_type": "train_ep',
    ]
    (tmp_path / "stats.jsonl").write_text("\n".join(lines))
    assert read_curves(tmp_path / "stats.jsonl") == {
        "loss": [(1, 2.0), (2, 1.25)],
        "train": [(1, 25.0), (2, 55.0)],
        "val 1x8x48": [(2, 60.0)],
    }
    assert plot_training(tmp_path / "nowhere") is None


def test_the_screen_has_statistics_by_a_key_and_in_one_line(tmp_path, capsys):
    values = {f"a_long_name_{number}": number for number in range(30)}
    for on_screen in (False, True):
        setup_logging(tmp_path, True, on_screen)
        log_json_stats(values)
        assert (stats(capsys.readouterr().out) == [values]) == on_screen
    assert [simplejson.loads(one) for one in open(tmp_path / "stats.jsonl")] == [values] * 2
    setup_logging(tmp_path, False)
