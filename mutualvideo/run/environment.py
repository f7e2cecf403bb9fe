"""What a run ran on and with, as a file beside its results: versions, devices, git state."""

import importlib.metadata
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import torch
from torch.utils import collect_env

import mutualvideo
from mutualvideo.files import atomic_path

# Beside torch: whose networks, decoders and file formats these are.
_LIBRARIES = (
    "torchvision",
    "pytorchvideo",
    "fvcore",
    "numpy",
    "av",
    "decord",
    "torchcodec",
    "pillow",
    "tensorboard",
    "matplotlib",
    "onnxruntime",
    "openvino",
)
_DIFF_BYTES = 1 << 20
_STATUS_LINES = 50
# A repository on a slow disk must not hold up a run.
_GIT_S = 20


def write_environment(folder, context):
    """Writes ``environment.txt`` to ``folder``, and ``git.diff`` if the code was changed.

    No environment variable is written: they hold secrets.

    Args:
        folder: where to; a ``git.diff`` of an earlier start is removed if it is no longer true.
        context: this process, :class:`~mutualvideo.run.distributed.Context`.

    Raises:
        InputError: if a file cannot be written.
    """
    git, diff = git_state(Path(mutualvideo.__file__).parent)
    sections = {
        "command": [shlex.join(sys.argv)],
        "versions": install_lines(),
        "devices": [context.describe(), *machine_lines()],
        "git": git,
    }
    text = "".join(
        f"{title}\n" + "".join(f"  {line}\n" for line in lines) for title, lines in sections.items()
    )
    with atomic_path(Path(folder) / "environment.txt") as temporary:
        temporary.write_text(text, encoding="utf-8")
    path = Path(folder) / "git.diff"
    if not diff:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(diff)


def install_lines():
    """Lines of versions: Python, this package, torch, and what it works with."""
    found = {
        "python": platform.python_version(),
        "mutualvideo": mutualvideo.__version__,
        "torch": torch.__version__,  # names its CUDA too
    }
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return [f"{name} {version}" for name, version in found.items()]


def machine_lines():
    """Lines about the machine; of all that collect_env asks, what takes no seconds (pip does)."""
    lines = [collect_env.get_os(collect_env.run)]
    if torch.cuda.is_available():
        lines += collect_env.get_gpu_info(collect_env.run).splitlines()
        driver = collect_env.get_nvidia_driver_version(collect_env.run)
        lines.append(f"CUDA {torch.version.cuda}, driver {driver}")
        lines.append(f"cuDNN {torch.backends.cudnn.version()}")
    return lines


def git_state(folder):
    """The state of the git repository that the code in ``folder`` belongs to.

    Args:
        folder: of the package; a repository that it lies in, but is no part of, is none.

    Returns:
        (lines for people, diff from the commit as bytes, empty if there is none). A diff longer
        than 1 MiB is cut off, and says so. Untracked files are named, not contained. Without git
        or a repository the lines say so.
    """
    try:
        _git(folder, "ls-files", "--error-unmatch", ".")
        commit = _git(folder, "rev-parse", "HEAD")
        branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
        changed = _git(folder, "status", "--porcelain").splitlines()
        diff = _git_diff(folder)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or b"").decode(errors="replace").splitlines()
        return [f"not known: {said[0] if said else error}"], b""
    lines = [f"commit {commit}", f"branch {branch if branch != 'HEAD' else 'none (detached)'}"]
    if not changed:
        return [*lines, "no changes"], b""
    lines.append(f"{len(changed)} changed files" + (", see git.diff:" if diff else ":"))
    lines += [f"  {line}" for line in changed[:_STATUS_LINES]]
    if len(changed) > _STATUS_LINES:
        lines.append("  ...")
    return lines, diff


# No lock in the repository, no helper process that stays.
_COMMAND = ("git", "--no-optional-locks", "-c", "core.fsmonitor=false")


def _git(folder, *arguments):
    command = [*_COMMAND, "-C", str(folder), *arguments]
    done = subprocess.run(
        command, capture_output=True, check=True, timeout=_GIT_S, stdin=subprocess.DEVNULL
    )
    return done.stdout.decode(errors="replace").rstrip("\n")


def _git_diff(folder):
    top = _git(folder, "rev-parse", "--show-toplevel")
    command = [*_COMMAND, "-C", top, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD"]
    # Not subprocess.run: a diff of any size would be read whole.
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        diff = process.stdout.read(_DIFF_BYTES + 1)
        process.stdout.close()  # git stops at the next line it writes
    if len(diff) > _DIFF_BYTES:
        diff = diff[:_DIFF_BYTES] + b"\n(cut off after 1 MiB)\n"
    return diff
