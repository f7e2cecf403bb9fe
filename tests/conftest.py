"""What every test relies on."""

import logging
import os
import signal
import sys
from pathlib import Path

import pytest

# Files that take a minute and more. A process takes whole files: one of these must not be the last.
_LONGEST = [
    "zoo/test_any_network.py",
    "backends/test_backends.py",
    "export/test_subnet_file.py",
    "slim/test_zoo.py",
    "mutual/test_compiled.py",
    "models/test_networks.py",
    "engine/test_distributed.py",
    "engine/test_survival.py",
    "zoo/test_random_networks.py",
    "export/test_detector_file.py",
    "tools/test_run_net.py",
    "engine/test_detectors.py",
    "engine/test_multigrid.py",
]


def pytest_collection_modifyitems(items):
    """The longest files first."""
    here = Path(__file__).parent
    first = {here / file: place for place, file in enumerate(_LONGEST)}
    items.sort(key=lambda item: first.get(item.path, len(first)))


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """^C interrupts this process and those that it starts, as in a terminal.

    A shell starts what a script runs in the background (``pytest &``, ``nohup``) with SIGINT
    ignored, which Python and the processes that tests interrupt would inherit.
    """
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module", autouse=True)
def not_real_time():
    """No library has made this process one that others wait for; see ``tests.data.videos``."""
    yield
    if hasattr(os, "sched_getscheduler"):
        assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.fixture(scope="module", autouse=True)
def unheard_in_the_next_file():
    """What runs of a file's fixtures log to, such as a console that is closed by then, goes."""
    yield
    root = logging.getLogger()
    for handler in [h for h in root.handlers if not type(h).__module__.startswith("_pytest")]:
        root.removeHandler(handler)
    root.setLevel(logging.WARNING)


@pytest.fixture(autouse=True)
def heard_as_before():
    """What a run does to the root logger ends with the test: others look at warnings."""
    root, level = logging.getLogger(), logging.getLogger().level
    yield
    root.setLevel(level)


@pytest.fixture
def extensions_stay_out(monkeypatch):
    """What an extension adds to registries, keys, modules and paths goes with the test."""
    from mutualvideo.config import defaults, get_cfg
    from mutualvideo.registry import DATASETS, DETECTORS, NETWORKS

    for registry in (NETWORKS, DETECTORS, DATASETS):
        monkeypatch.setattr(registry, "_obj_map", registry.all())
    monkeypatch.setattr(defaults, "_C", get_cfg())
    before = list(sys.path)
    monkeypatch.setattr(sys, "path", list(before))
    yield
    added = {os.path.realpath(folder) for folder in sys.path} - set(map(os.path.realpath, before))
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and os.path.dirname(os.path.realpath(file)) in added:
            del sys.modules[name]
