"""The code blocks of the documentation run, in order, as a reader would paste them.

A block whose first line is a comment with a file's name is saved as that file; commands run where
the reader has the repository's ``tools``.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mutualvideo import QueryTable
from mutualvideo.backends import BackendKind, backend_names
from mutualvideo.config import defaults, get_cfg
from mutualvideo.registry import DATASETS, NETWORKS
from mutualvideo.table.cascade import Cascade
from tests.runtime.conftest import GRID, curve, run_dir, tiny_cfg  # noqa: F401  (fixtures)

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(python|yaml|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Those that train and play take more than a few seconds.
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("*.md"))}
PAGES = [
    pytest.param(page, marks=pytest.mark.slow if "```console" in text else ())
    for page, text in TEXTS.items()
    if BLOCK.search(text)
]
FILE = re.compile(r"# (\w+\.\w+)\n")


@pytest.fixture
def trained(run_dir, tmp_path):  # noqa: F811
    """``output/toy``, as ``make demo`` leaves it, of a smaller network."""
    folder = tmp_path / "output" / "toy"
    shutil.copytree(run_dir, folder)
    table = QueryTable.load_json(folder / "query_table.json")
    curve(Cascade((GRID[0][0], GRID[1][0]), (0.5,))).save_json(folder / "cascades.json")
    # Rows that were evaluated, which is to say calibrated.
    rows = [row for row in table if row.subnet in [subnet for subnet, _ in GRID]]
    metadata = {**table.metadata, "cascades": "cascades.json"}
    QueryTable(rows, metadata).save_json(folder / "query_table.json")


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path, monkeypatch):
    """What a page registers is gone after it, and other tests see the package's own alone."""
    for registry in (NETWORKS, DATASETS):
        monkeypatch.setattr(registry, "_obj_map", registry.all())
    monkeypatch.setattr(defaults, "_C", get_cfg())
    backend_names()  # all of the package's are there
    monkeypatch.setattr(BackendKind, "declared", dict(BackendKind.declared))
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    # Modules of the page's own files, not libraries that were imported on the way.
    for name in set(sys.modules) - before:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("page", PAGES)
def test_code_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    text = TEXTS[page]
    names = {}
    for block in BLOCK.finditer(text):
        if file := FILE.match(block[2]):
            (tmp_path / file[1]).write_text(block[2], encoding="utf-8")
        elif block[1] == "console":
            for command in block[2].splitlines():
                run(command)
        elif block[1] == "python":
            # Line numbers of the page, so that a failure points there.
            line = text[: block.start(2)].count("\n")
            exec(compile("\n" * line + block[2], str(DOCS / page), "exec"), names)


def run(command):
    """A command of the documentation, with this interpreter and this checkout."""
    python, tool, *arguments = shlex.split(command)
    assert python == "python"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, ROOT / tool, *arguments], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
