"""The notebook of the documentation runs from its first cell to its last, with fewer videos."""

import os
import stat
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "first_steps.ipynb"


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("captum", reason="captum is not installed")
    page = nbformat.read(PAGE, as_version=4)
    (sizes,) = [cell for cell in page.cells if cell.source.startswith("VIDEOS, EPOCHS = ")]
    sizes.source = "VIDEOS, EPOCHS = 40, 1"
    # The command of this checkout.
    command = tmp_path / "bin" / "mutualvideo"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mutualvideo "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MPLBACKEND", "agg")
    work = tmp_path / "work"
    work.mkdir()
    nbclient.NotebookClient(
        page, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(work)}}
    ).execute()
    printed = {
        cell.source: "".join(part.text for part in cell.outputs if part.output_type == "stream")
        for cell in page.cells
        if cell.cell_type == "code"
    }
    # A command that fails in a cell does not end it: what the commands leave is looked at.
    assert "error:" not in "".join(printed.values())
    (table,) = [text for source, text in printed.items() if "table.to_text()" in source]
    assert "1x8x48" in table and "0.35x6x32" in table and table.count("\n") >= 24
    (answers,) = [text for source, text in printed.items() if "set_budget" in source]
    assert answers.count("\n") == 3


def test_what_is_kept_was_run_in_order():
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    page = nbformat.read(PAGE, as_version=4)
    nbformat.validate(page)
    cells = [cell for cell in page.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [
        output for cell in cells for output in cell.outputs if output.output_type == "error"
    ]
    # Pictures are kept; they must stay small.
    assert PAGE.stat().st_size < 400_000
