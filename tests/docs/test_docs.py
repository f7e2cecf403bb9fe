"""The code blocks of the documentation run, in order, as a reader would paste them."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from mutualvideo import QueryTable
from mutualvideo.table.cascade import Cascade
from tests.runtime.conftest import GRID, curve, run_dir, tiny_cfg  # noqa: F401  (fixtures)

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


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


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    "page", sorted(p.name for p in DOCS.glob("*.md") if BLOCK.search(p.read_text("utf-8")))
)
def test_code_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    names = {}
    for block in blocks:
        # Line numbers of the page, so that a failure points there.
        line = text[: block.start(1)].count("\n")
        exec(compile("\n" * line + block[1], str(DOCS / page), "exec"), names)
