"""What a plan's trainings leave: each once, failures by name, none that was made otherwise."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from PIL import Image

from mutualvideo.commands.command_line import main
from mutualvideo.comparison.execute import execute
from mutualvideo.comparison.plan import read_plan
from mutualvideo.comparison.records import collect, save_records
from mutualvideo.errors import InputError

PLAN = """
BASE: CIFAR/WRN_16_4_small_mutual
KEYS:
  WIDERESNET: {DEPTH: 10, WIDEN_FACTOR: 1}
  MODEL.NUM_CLASSES: 2
  TRAIN: {BATCH_SIZE: 4, EVAL_PERIOD: 0}
  SOLVER: {MAX_EPOCH: 1, WARMUP_EPOCHS: 0}
  TABLE: {LATENCY: False, CASCADES: False, WIDTHS: [1.0], SIZES: [32]}
ARMS:
  mutual: {}
  misled: {KEYS: {TRAIN.CHECKPOINT_FILE_PATH: nowhere.pyth}}
  alpha: {GONE: MUTUAL.DIVERGENCE alpha}
AGAINST: [[mutual, alpha]]
"""


@pytest.fixture(scope="module")
def carried_out(tmp_path_factory):
    """(the plan, the folder of its runs, KEY VALUE, the runs that failed) after it ran."""
    folder = tmp_path_factory.mktemp("compared")
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("one", "two"):
            (folder / split / name).mkdir(parents=True)
            for number in range(4):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    plan, runs = folder / "plan.yaml", folder / "runs"
    plan.write_text(PLAN)
    keys = ["DATA.PATH_TO_DATA_DIR", str(folder)]
    return plan, runs, keys, execute(read_plan(plan, keys), str(runs), jobs=2)


def test_a_failed_run_ends_no_other(carried_out):
    plan, runs, keys, failures = carried_out
    (reason,) = failures.values()
    assert failures.keys() == {"misled/seed0"} and "nowhere.pyth" in reason
    assert {record.arm for record in collect(read_plan(plan, keys), str(runs))} == {"mutual"}


def test_what_is_there_is_not_trained_again(carried_out):
    plan, runs, keys, _ = carried_out
    made = (runs / "mutual/seed0/results.json").stat().st_mtime_ns
    assert execute(read_plan(plan, keys), str(runs), arms=["mutual"]) == {}
    assert (runs / "mutual/seed0/results.json").stat().st_mtime_ns == made


def test_sigterm_stops_the_training_too(carried_out, tmp_path):
    """It ends with a checkpoint, nothing trains on unseen, and the same command goes on."""
    plan, _, keys, _ = carried_out
    keys = [*keys, "SOLVER.MAX_EPOCH", "2000", "TRAIN.CHECKPOINT_PERIOD", "0"]
    command = [sys.executable, "-m", "mutualvideo", "compare", str(plan), *keys]
    command += ["--arms", "mutual", "--runs", str(tmp_path), "--output", str(tmp_path / "out")]
    kept = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    child = subprocess.Popen(command, **kept)
    log, folder = tmp_path / "mutual/seed0/run.log", tmp_path / "mutual/seed0/checkpoints"
    while not (log.exists() and "epoch 2/2000" in log.read_text()):
        assert child.poll() is None
        time.sleep(0.2)
    child.send_signal(signal.SIGTERM)
    told, _ = child.communicate()
    assert child.returncode == 1 and "stopped; the same command goes on" in told
    assert "ended early" in log.read_text() and len(os.listdir(folder)) == 1


def test_a_row_that_no_table_will_have_is_refused_before_anything_is_trained(carried_out, tmp_path):
    plan, _, keys, _ = carried_out
    odd = plan.with_name("rows.yaml")
    text = plan.read_text().replace("  alpha: {GONE: MUTUAL.DIVERGENCE alpha}\n", "")
    odd.write_text(text.replace("[[mutual, alpha]]", "[[mutual, misled]]") + "ROWS: [1x32, 0.5x32]")
    with pytest.raises(InputError, match="ROWS has 0.5x32, which is in no arm's table.* 1x32"):
        execute(read_plan(odd, keys), str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_runs_that_were_made_otherwise_are_refused(carried_out):
    plan, runs, keys, _ = carried_out
    with pytest.raises(InputError, match="seed0: was made with SOLVER.BASE_LR 0.05, the plan"):
        execute(read_plan(plan, [*keys, "SOLVER.BASE_LR", "0.5"]), str(runs), arms=["mutual"])


@pytest.mark.parametrize(
    "key, value, refused",
    [
        ("DIVERGENCE", "kl", False),  # taken out since, with the value that is the rule now
        ("DIVERGENCE", "alpha", True),
        ("LABEL_SHARE", None, False),  # of an earlier version, which did not have the key
        ("WIDTH_RANGE", None, True),
    ],
)
def test_runs_of_earlier_versions(carried_out, key, value, refused):
    plan, runs, keys, _ = carried_out
    path = runs / "mutual/seed0/config.yaml"
    before = path.read_text()
    content = yaml.safe_load(before)
    content["MUTUAL"].pop(key, None)
    if value is not None:
        content["MUTUAL"][key] = value
    path.write_text(yaml.safe_dump(content))
    try:
        if refused:
            with pytest.raises(InputError, match=f"was made with MUTUAL.{key} {value}, the plan"):
                execute(read_plan(plan, keys), str(runs), arms=["mutual"])
        else:
            assert execute(read_plan(plan, keys), str(runs), arms=["mutual"]) == {}
    finally:
        path.write_text(before)


def test_an_arm_that_is_gone_is_reported_and_not_trained(carried_out, capsys):
    plan, runs, keys, _ = carried_out
    with pytest.raises(InputError, match="arm alpha was trained with MUTUAL.DIVERGENCE alpha"):
        execute(read_plan(plan, keys), str(runs), arms=["alpha"])
    path = plan.parent / "runs.csv"
    records = collect(read_plan(plan, keys), str(runs))
    save_records([*records, *(dataclasses.replace(one, arm="alpha") for one in records)], path)
    capsys.readouterr()
    assert main(["compare", str(plan), "--report"]) is None
    *_, line = capsys.readouterr().out.splitlines()
    found = json.loads(line.removeprefix("json_compare: "))
    assert (found["arm"], found["against"], found["full"]["difference"]) == ("mutual", "alpha", 0)


def test_a_run_that_left_videos_out_is_not_compared(carried_out):
    """Answers are paired by their place in the list."""
    plan, runs, keys, _ = carried_out
    path = sorted(runs.glob("**/results.json"))[0]
    before = path.read_text()
    path.write_text(json.dumps({**json.loads(before), "missing": [{"name": "a", "reason": "b"}]}))
    try:
        with pytest.raises(InputError, match="1 of .* videos could not be evaluated.*check"):
            collect(read_plan(plan, keys), str(runs))
    finally:
        path.write_text(before)
