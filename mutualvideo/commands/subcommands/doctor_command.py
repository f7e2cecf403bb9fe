"""Says what is installed and what works on this machine: to paste into a bug report.

mutualvideo doctor
mutualvideo doctor --quick    without torch-compiled, which calls a compiler for a minute

A film of a second is written by every encoder and read by every decoder, and a small network runs
on every backend: what is called "works" was done. Nothing is written but in the system's temporary
folder. Exit code 1 if training or the torch backend cannot work.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="leave out what takes long")


def run(args: argparse.Namespace) -> int:
    from mutualvideo.commands.health import examine

    return 0 if examine(print, args.quick) else 1
