"""The command ``mutualvideo``: its subcommands, their help, and the tools that are the same."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from mutualvideo import __version__
from mutualvideo.commands.command_line import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
TOOLS = {
    "benchmark": "benchmark",
    "check_videos": "check",
    "compare": "compare",
    "demo": "demo",
    "export": "export",
    "flops_table": "table",
    "make_folds": "folds",
    "resize_videos": "resize",
    "run_net": "train",
    "toy_dataset": "toy",
}


def help_of(capsys, call):
    with pytest.raises(SystemExit) as stopped:
        call()
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_no_help_imports_torch():
    """In a process where torch cannot be imported, every help answers."""
    code = f"""
import sys
sys.modules["torch"] = None
from mutualvideo.commands.command_line import main
for given in [["--help"], ["--version"]] + [[name, "--help"] for name in {list(COMMANDS)}]:
    try:
        main(given)
    except SystemExit as stopped:
        assert stopped.code == 0, given
    else:
        raise AssertionError(given)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_names_every_command(capsys):
    text = help_of(capsys, lambda: main(["--help"]))
    for name, (_, about) in COMMANDS.items():
        assert f"  {name} " in text and about in text
    assert help_of(capsys, lambda: main(["--version"])) == f"mutualvideo {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command(name, capsys):
    text = help_of(capsys, lambda: main([name, "--help"]))
    assert text.startswith(f"usage: mutualvideo {name} ") and f"\nmutualvideo {name}" in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    "given, words",
    [
        (["trian"], "there is no command 'trian': did you mean train?"),
        (["zzz", "--cfg", "x"], "there is no command 'zzz': choose from train, evaluate"),
        ([], "COMMAND"),
        (["table"], "--cfg"),
    ],
)
def test_what_is_no_command(given, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(given)
    assert stopped.value.code == 2 and words in capsys.readouterr().err


def test_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "mutualvideo", "configs", "--path", "nonsense"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stderr.startswith("error: nonsense: no such config file")
    assert done.stderr.count("\n") == 1


def test_every_tool_is_a_command():
    assert {path.stem for path in ROOT.glob("tools/*.py")} == set(TOOLS)


@pytest.mark.parametrize("script, name", TOOLS.items())
def test_tools_take_what_their_command_takes(script, name, capsys, monkeypatch):
    spec = importlib.util.spec_from_file_location(script, ROOT / "tools" / f"{script}.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setenv("COLUMNS", "300")  # usage in one line, whatever its length
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--help"])
    theirs = help_of(capsys, tool.main)
    ours = help_of(capsys, lambda: main([name, "--help"]))
    assert theirs.startswith(f"usage: {script}.py ") and f"python tools/{script}.py " in theirs
    assert theirs.partition("\noptions:")[2] == ours.partition("\noptions:")[2] != ""
    assert f"mutualvideo {name}" not in theirs
