"""Nobody touches the private attributes of another module's classes."""

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "mutualvideo"
MINE = ("self", "cls")
# torch's, which it tells subclasses about; slim is made of subclasses of torch's layers.
TORCHS = {"_parameters", "_buffers", "_modules", "_version"}


def attributes(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            if not node.attr.startswith("__"):
                yield node


def test_private_attributes_are_their_modules_own():
    paths = sorted(PACKAGE.rglob("*.py"))
    owners = defaultdict(set)
    for path in paths:
        for node in attributes(path):
            if isinstance(node.value, ast.Name) and node.value.id in MINE:
                owners[node.attr].add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                owners[node.name].add(path)
    assert len(owners) > 100
    touched = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}: {ast.unparse(node)}"
        for path in paths
        for node in attributes(path)
        if not (isinstance(node.value, ast.Name) and node.value.id in MINE)
        and node.attr in owners.keys() - TORCHS
        and path not in owners[node.attr]
    ]
    assert touched == []
