"""Runs what a plan asks for and is not there yet, several at a time."""

import logging
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import yaml

from mutualvideo.config import get_cfg, load_cfg, trace_run
from mutualvideo.config.load import cfg_to_dict, changed_keys
from mutualvideo.config.retired_keys import says_nothing
from mutualvideo.errors import InputError
from mutualvideo.evaluation.grid import grid_subnets
from mutualvideo.signals import stop_on_signals

logger = logging.getLogger(__name__)

# What a finished run leaves last.
_LAST = "results.json"
# Keys that do not change what a run finds.
_FREE = {"OUTPUT_DIR", "LOG_PERIOD", "DATA_LOADER.NUM_WORKERS", "DATA.PATH_TO_DATA_DIR"}
_COMMAND = ("-m", "mutualvideo", "train")
_STOPPED = "stopped; the same command goes on"
# How often a run is looked at, in seconds.
_LOOK_S = 0.5


def is_done(folder):
    """Whether the run in ``folder`` has its table."""
    return os.path.isfile(os.path.join(folder, _LAST))


def execute(plan, output, jobs=1, arms=()):
    """Runs all runs of ``plan`` that are not finished; a stopped one goes on where it was.

    ^C and SIGTERM stop the runs at hand, each with a checkpoint, and begin no others.

    Args:
        plan: :class:`~mutualvideo.comparison.plan.Plan`.
        output: folder of all runs.
        jobs: how many run at a time; they share the cores.
        arms: those to run; empty: all.

    Returns:
        ``{folder of a run: why it failed}``.

    Raises:
        InputError: for an arm that the plan does not have, or that cannot be trained any more; for
            a row that no table has; if a run in ``output`` was made with other keys, naming them.
    """
    for arm in arms:
        if arm not in plan.arms:
            hint = " (KEY VALUE pairs go before --arms)" if "." in arm else ""
            raise InputError(f"{plan.path}: has no arm {arm}; it has {', '.join(plan.arms)}{hint}")
        if arm in plan.gone:
            raise InputError(
                f"{plan.path}: arm {arm} was trained with {plan.gone[arm]}, which was taken out "
                "(docs/results.md says why): its results are reported, it cannot be trained"
            )
    _require_rows(plan)
    missing, wanted = [], [run for run in plan.runs if not arms or run.arm in arms]
    for run in wanted:
        folder = os.path.join(output, run.folder)
        cfg, _ = trace_run(plan.base, [*run.overrides, "OUTPUT_DIR", folder])
        _require_same(cfg, folder)
        if not is_done(folder):
            missing.append((run, folder))
    logger.info("%d of %d runs are to be done, in %s", len(missing), len(wanted), output)
    failures = {}
    with stop_on_signals() as stop, ThreadPoolExecutor(max(1, jobs)) as pool:
        found = pool.map(lambda one: _run(plan, *one, jobs, stop), missing)
        for number, ((run, _), reason) in enumerate(zip(missing, found, strict=True), 1):
            logger.info("%d/%d %s: %s", number, len(missing), run.folder, reason or "done")
            if reason:
                failures[run.folder] = reason
    return failures


def _require_rows(plan):
    """Refuses rows that no arm's table will have, before anything is trained for them."""
    if not plan.rows or plan.gone:
        return
    made = {}
    for run in plan.runs:
        made.setdefault((run.arm, run.alone), run)
    configurations = (load_cfg(plan.base, run.overrides) for run in made.values())
    there = {str(subnet) for cfg in configurations for subnet in grid_subnets(cfg)}
    for row in plan.rows:
        if row not in there:
            raise InputError(
                f"{plan.path}: ROWS has {row}, which is in no arm's table; what is there: "
                f"{', '.join(sorted(there))}; TABLE.WIDTHS, FRAMES and SIZES of an arm say it"
            )


def _require_same(cfg, folder):
    """Refuses a run that was made, or begun, with other keys than ``cfg``."""
    try:
        with open(os.path.join(folder, "config.yaml"), encoding="utf-8") as file:
            found = yaml.safe_load(file)
    except OSError:
        return
    except yaml.YAMLError:
        found = {}
    changes = changed_keys(found, cfg_to_dict(cfg))
    # A key that the run's version did not have yet had, in effect, its default.
    changed = changed_keys(cfg_to_dict(get_cfg()), cfg_to_dict(cfg))
    for key, (old, _) in list(changes.items()):
        from_data = key == "MODEL.NUM_CLASSES" and not cfg.MODEL.NUM_CLASSES
        later = old is None and key not in changed
        if key in _FREE or from_data or later or says_nothing(key, old):
            del changes[key]
    if changes:
        key, (old, new) = next(iter(changes.items()))
        raise InputError(
            f"{folder}: was made with {key} {old}, the plan has {new}: remove that run, or give "
            "another folder"
        )


def _run(plan, run, folder, jobs, stop):
    """Trains and evaluates; returns why that failed, or ``None``."""
    if stop.is_set():
        return _STOPPED
    os.makedirs(folder, exist_ok=True)
    command = [sys.executable, *_COMMAND, "--cfg", plan.base]
    command += ["--opts", *run.overrides, "OUTPUT_DIR", folder]
    threads = str(max(1, (os.cpu_count() or 1) // max(1, jobs)))
    environment = {"OMP_NUM_THREADS": threads, **os.environ}
    log = os.path.join(folder, "run.log")
    # Behind what is there: another process may be training in this folder, and writing to it.
    with open(log, "a", encoding="utf-8") as file:
        begin = file.tell()
        child = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
    code = _wait(child, stop)
    if code == 0 and is_done(folder):
        return None
    if stop.is_set():
        return _STOPPED
    with open(log, "rb") as file:
        file.seek(begin)
        text = file.read().decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error: " in line]
    last = (errors or lines or ["it said nothing"])[-1]
    return f"ended with {code}, {last} (all of it: {log})"


def _wait(child, stop):
    """The exit code of ``child``, which is told of the SIGTERM that sets ``stop``."""
    told = False
    while True:
        try:
            return child.wait(timeout=_LOOK_S)
        except subprocess.TimeoutExpired:
            # ^C of a terminal reaches it by itself, and a second signal would end it at once.
            if stop.is_set() and not told and stop.number == signal.SIGTERM:
                child.terminate()
                told = True
