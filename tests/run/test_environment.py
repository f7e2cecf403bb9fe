"""What a run says about itself, beside git's own answers."""

import importlib.metadata
import platform
import subprocess

import pytest
import torch

import mutualvideo
from mutualvideo.run import environment
from mutualvideo.run.distributed import Context
from mutualvideo.run.environment import git_state, write_environment

CPU = Context(torch.device("cpu"))


@pytest.fixture
def git(tmp_path, monkeypatch):
    """Runs git in a new repository with one commit of ``package/code.py``; returns what it says."""
    for name in ("GLOBAL", "SYSTEM"):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", "/dev/null")
    folder = tmp_path / "repository"

    def run(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(
            ["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True
        )
        return done.stdout

    (folder / "package").mkdir(parents=True)
    (folder / "package" / "code.py").write_text("one = 1\n")
    run("init", "-b", "work")
    run("add", ".")
    run("commit", "-m", "first")
    run.folder = folder
    return run


def test_a_clean_repository(git):
    lines, diff = git_state(git.folder / "package")
    assert lines == [f"commit {git('rev-parse', 'HEAD').strip()}", "branch work", "no changes"]
    assert diff == b""
    git("checkout", "--detach")
    assert git_state(git.folder / "package")[0][1] == "branch none (detached)"


def test_changes_are_named_and_the_diff_applies(git):
    (git.folder / "package" / "code.py").write_text("one = 2\n")
    (git.folder / "elsewhere.py").write_text("staged\n")
    git("add", "elsewhere.py")
    (git.folder / "new.py").write_text("")
    lines, diff = git_state(git.folder / "package")
    assert lines[2] == "3 changed files, see git.diff:"
    assert {line.strip() for line in lines[3:]} == {
        "A  elsewhere.py",
        "M package/code.py",
        "?? new.py",
    }
    assert diff.decode() == git("diff", "HEAD")
    git("reset", "--hard")
    (git.folder.parent / "diff").write_bytes(diff)
    git("apply", "../diff")
    assert (git.folder / "package" / "code.py").read_text() == "one = 2\n"
    assert (git.folder / "elsewhere.py").read_text() == "staged\n"


def test_a_long_diff_is_cut_off(git, monkeypatch):
    (git.folder / "package" / "code.py").write_text("number\n" * 400_000)
    _, diff = git_state(git.folder)
    assert diff.endswith(b"(cut off after 1 MiB)\n") and 0 <= len(diff) - 2**20 < 50


def test_no_repository_and_no_git_are_said(git, monkeypatch, tmp_path):
    assert git_state(tmp_path)[0][0].startswith("not known: fatal: not a git repository")
    # Installed into an environment that lies in some other project's repository.
    (git.folder / "venv").mkdir()
    (git.folder / "venv" / "code.py").touch()
    assert git_state(git.folder / "venv")[0][0].startswith("not known: error: pathspec '.'")
    monkeypatch.setenv("PATH", "")
    lines, diff = git_state(git.folder)
    assert len(lines) == 1 and lines[0].startswith("not known: ") and "git" in lines[0]
    assert diff == b""


def test_the_files(git, tmp_path, monkeypatch):
    monkeypatch.setattr(mutualvideo, "__file__", str(git.folder / "package" / "__init__.py"))
    monkeypatch.setattr(environment, "_LIBRARIES", ("av", "no-such-library"))
    monkeypatch.setenv("SECRET_TOKEN", "do not write me")
    (git.folder / "package" / "code.py").write_text("one = 2\n")
    folder = tmp_path / "run"
    write_environment(folder, CPU)
    text = (folder / "environment.txt").read_text()
    for line in (
        f"python {platform.python_version()}",
        f"av {importlib.metadata.version('av')}",
        f"torch {torch.__version__}",
        "no-such-library not installed",
        CPU.describe(),
        f"commit {git('rev-parse', 'HEAD').strip()}",
    ):
        assert f"\n  {line}\n" in text
    assert "do not write me" not in text
    assert (folder / "git.diff").read_text() == git("diff", "HEAD")
    # The next start, after a commit.
    git("commit", "-am", "second")
    write_environment(folder, CPU)
    assert sorted(path.name for path in folder.iterdir()) == ["environment.txt"]
