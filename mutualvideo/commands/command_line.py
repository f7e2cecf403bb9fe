"""The command ``mutualvideo``: finds the module of a subcommand, parses, runs it.

A subcommand is a line of ``COMMANDS`` and a module of :mod:`mutualvideo.commands.subcommands` with

- a docstring: what ``--help`` says, with examples that begin ``mutualvideo NAME``;
- ``add_arguments(parser)``;
- ``run(args)``, which returns the exit code, ``None`` for 0.

At its top a module imports nothing that imports torch, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType

from mutualvideo import __version__
from mutualvideo.commands.tool import run_tool

# Name: the module, and what `mutualvideo --help` says of it. In the order of a first use.
COMMANDS = {
    "train": ("train_command", "train a network, then evaluate its sub-networks"),
    "evaluate": ("evaluate_command", "calibrate and evaluate what a run has trained"),
    "table": ("table_command", "what every sub-network costs; with a checkpoint, how good it is"),
    "predict": ("predict_command", "recognise videos or pictures: a line each"),
    "detect": ("detect_command", "find objects in pictures and videos: boxes drawn on them"),
    "demo": ("demo_command", "play a video or camera under a budget: an annotated film"),
    "serve": ("serve_command", "a web page to try a network in the browser"),
    "export": ("export_command", "write sub-networks for other runtimes"),
    "check": ("check_command", "find the videos of a list that cannot be read"),
    "resize": ("resize_command", "re-encode videos so that training reads them quickly"),
    "folds": ("folds_command", "lists for k-fold cross-validation"),
    "toy": ("toy_command", "write a small data set of moving shapes, to try things with"),
    "configs": ("configs_command", "list the configurations that --cfg takes by name"),
    "weights": ("weights_command", "list the released weights that can be had by name"),
    "compare": ("compare_command", "train what a plan asks for, and report how its arms differ"),
    "benchmark": ("benchmark_command", "measure speed side by side with other libraries"),
    "doctor": ("doctor_command", "what is installed and works here: for a bug report"),
}


def run() -> None:
    """What the installed command calls; ends the process with :func:`main`'s exit code."""
    run_tool(main)


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Runs ``mutualvideo ARGUMENTS``, by default those of this process; returns the exit code.

    Raises:
        SystemExit: 0 after ``--help`` and ``--version``, 2 for arguments that are none.
        InputError: what the subcommand raises.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in COMMANDS:
        return _run(given[0], given[1:], f"mutualvideo {given[0]}")
    width = max(map(len, COMMANDS))
    parser = argparse.ArgumentParser(
        prog="mutualvideo",
        usage="mutualvideo [-h] [--version] COMMAND ...",
        description="One video network, trained once, executed at any budget.",
        epilog="commands:\n"
        + "".join(f"  {name:<{width}}  {about}\n" for name, (_, about) in COMMANDS.items())
        + "\n`mutualvideo COMMAND --help` says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mutualvideo {__version__}")
    parser.add_argument("command", help=argparse.SUPPRESS)
    unknown = parser.parse_known_args(given)[0].command
    near = difflib.get_close_matches(unknown, COMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(COMMANDS)}"
    parser.error(f"there is no command {unknown!r}: {hint}")


def tool(name: str, script: str) -> Callable[[], int | None]:
    """``main()`` of ``tools/SCRIPT``, which is the subcommand ``name`` under its older name."""
    return lambda: _run(name, sys.argv[1:], script, f"tools/{script}")


def _run(name: str, arguments: Sequence[str], prog: str, path: str | None = None) -> int | None:
    module = _module(name)
    about = module.__doc__ or ""
    if path is not None:
        # torchrun takes the script as it is, others need an interpreter.
        about = about.replace(f"-m mutualvideo {name}", path)
        about = about.replace(f"mutualvideo {name}", f"python {path}")
    parser = argparse.ArgumentParser(
        prog=prog, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.add_arguments(parser)
    # Overrides may stand on both sides of an option.
    return module.run(parser.parse_intermixed_args(arguments))


def _module(name: str) -> ModuleType:
    return import_module(f"mutualvideo.commands.subcommands.{COMMANDS[name][0]}")
