"""The policy decides and nothing else: it needs no torch and starts no thread."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOM = sorted((ROOT / "mutualvideo" / "policy").glob("*.py"))
# What it may stand on, beside itself.
BELOW = ("budget", "errors", "subnet", "table", "policy")
FORBIDDEN = {"torch", "threading", "concurrent", "multiprocessing", "asyncio", "time", "av"}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("path", ROOM, ids=lambda path: path.stem)
def test_imports_go_down_alone(path):
    for name in imported(path):
        top, *rest = name.split(".")
        assert top not in FORBIDDEN
        assert top != "mutualvideo" or rest[0] in BELOW, name


def test_its_tests_pass_where_torch_cannot_be_imported():
    files = [str(p) for p in Path(__file__).parent.glob("test_*.py") if p != Path(__file__)]
    assert len(files) >= 7
    code = (
        "import sys; sys.modules['torch'] = None; import pytest; "
        "sys.exit(pytest.main(['-q', '-x', '-p', 'no:cacheprovider', '-p', 'no:randomly', "
        "*sys.argv[1:]]))"
    )
    command = [sys.executable, "-c", code, *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
