"""The log of a run, as people, scripts and TensorBoard read it."""

import re

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mutualvideo import Subnet
from mutualvideo.engine import watch as watch_module
from mutualvideo.engine.train import build_sampler, train
from mutualvideo.engine.watch import Watch, clock_time
from mutualvideo.errors import InputError
from mutualvideo.run.distributed import Context
from mutualvideo.run.log import setup_logging
from mutualvideo.run.progress import Progress
from tests.engine.logged import stats
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
    return Watch(cfg, steps, scalars, clock), scalars, clock


def walk(watch, clock, step, wait, work):
    """One step that waits and works for so many seconds; whether a line is due."""
    clock.now += wait
    watch.data_came()
    clock.now += work
    return watch.step_done(step)


def human(text):
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
    assert (
        "epoch 2/3 done in 0:00:04: loss 1.5000 top-1 60.00 %, 1 images replaced, 1 steps skipped"
    ) in caplog.text
    assert "replaced in epoch 2: a.png: is damaged" in caplog.text
    assert scalars.values["train/loss", 4] == 1.5


@pytest.mark.parametrize(
    "seconds, text",
    [(0, "0:00:00"), (59.6, "0:01:00"), (3599, "0:59:59"), (1_000_000, "277:46:40")],
)
def test_clock_time(seconds, text):
    assert clock_time(seconds) == text


def test_a_period_of_no_steps_is_refused():
    with pytest.raises(InputError, match="LOG_PERIOD must be at least 1, not 0"):
        Watch(make_cfg("X3D", LOG_PERIOD=0), 1, Kept())


def test_the_lines_of_a_run_say_the_same(tiny):
    cfg = tiny(SOLVER__MAX_EPOCH=2)
    setup_logging(cfg.OUTPUT_DIR, True)
    train(cfg, CPU)
    with open(f"{cfg.OUTPUT_DIR}/stdout.log") as file:
        text = file.read()
    lines, sampler = human(text), build_sampler(cfg)
    steps = [line for line in stats(text) if line["_type"] == "train_iter"]
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
    assert len(re.findall(r"epoch \d/2 done in 0:0\d:\d\d: loss ", text)) == 2
