"""The plan of the house in ARCHITECTURE.md, against the imports that there are."""

import ast
import re
import subprocess
import sys
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mutualvideo"
BASE = "*base*"


def plan():
    """``{room: what it never reaches}``, in the order of the table."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`\w+`|\*base\*) \|.*\| (.*?) ?\|$", text, re.MULTILINE)
    rows = [row for row in rows if row[0] == BASE or (PACKAGE / row[0].strip("`")).is_dir()]
    return {room.strip("`"): re.findall(r"\w+", never) for room, never in rows}


def modules():
    """``{module's name: path}`` of the package; a folder's ``__init__`` has the folder's name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
PLAN = plan()


def imports(name):
    """Modules that ``name`` imports anywhere in it: ours by name, of others the package."""
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: relative imports hide what is imported"
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for one in found:
            ours = one.partition(".")[0] == "mutualvideo"
            # What is no module is a name in one.
            yield (
                (one if one in MODULES else one.rpartition(".")[0] or one)
                if ours
                else (one.partition(".")[0])
            )


GRAPH = {name: set(imports(name)) - {name} for name in MODULES}


def room(name):
    """The room that a module is in; of other packages, their name."""
    parts = name.split(".")
    if parts[0] != "mutualvideo":
        return parts[0]
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else BASE


def reached(start):
    """Everything that importing the modules ``start`` may import, themselves included."""
    found, waiting = set(), list(start)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += GRAPH.get(name, ())
    return found


def test_the_plan_names_every_room():
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert set(PLAN) == rooms | {BASE}
    known = rooms | {"torch"}
    for name, never in PLAN.items():
        assert known.issuperset(never), name


@pytest.mark.parametrize("name", PLAN)
def test_imports_go_up_the_plan(name):
    allowed = list(PLAN)[: list(PLAN).index(name) + 1]
    for module in MODULES:
        if room(module) == name:
            for other in GRAPH[module]:
                assert room(other) in allowed or room(other) not in PLAN, f"{module}: {other}"


@pytest.mark.parametrize("name", PLAN)
def test_what_a_room_never_reaches(name):
    start = [module for module in MODULES if room(module) == name]
    there = {room(module) for module in reached(start)}
    assert there.isdisjoint(PLAN[name]), there & set(PLAN[name])


def test_there_are_no_circles():
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_module_name_occurs_twice():
    names = Counter(path.stem for path in MODULES.values() if path.stem != "__init__")
    assert [name for name, count in names.items() if count > 1] == []


def test_what_is_pure_runs_without_torch():
    """Budget, policy and table are imported in a process where torch cannot be."""
    pure = [name for name in MODULES if room(name) in ("policy", "table", "config")]
    code = "import sys; sys.modules['torch'] = None\n"
    code += "".join(f"import {name}\n" for name in ["mutualvideo.budget", *pure])
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
