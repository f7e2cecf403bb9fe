"""The arguments that say which network answers, and how: of ``demo``, ``predict``, ``serve``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mutualvideo.commands.extension_option import add_extension

if TYPE_CHECKING:
    from mutualvideo.runtime.recognizer import AdaptiveRecognizer


def add_run(parser: argparse.ArgumentParser) -> None:
    """Adds them to an ``argparse`` parser."""
    add = parser.add_argument
    text = "OUTPUT_DIR or exported folder (default: the newest run in output)"
    add("--run", metavar="DIR", help=text)
    add("--table", help="query table (default: query_table.json of --run)")
    add("--checkpoint", help="default: the one that the table names")
    add("--device", help="cpu, cuda, ... (default: CUDA if there is one)")
    add("--backend", help="torch, openvino, ... (default: torch, or what a folder was made for)")
    add("--threads", type=int, help="of the CPU, for openvino and onnxruntime")
    add_extension(parser)


def open_recognizer(args: argparse.Namespace, mode: str = "clip") -> AdaptiveRecognizer:
    """The recogniser that the parsed arguments name.

    Raises:
        InputError: if it cannot be opened.
    """
    from mutualvideo.commands.latest_run import latest_run
    from mutualvideo.runtime import AdaptiveRecognizer
    from mutualvideo.runtime.deployed import locate

    run = args.run
    if run is None and (args.checkpoint is None or args.table is None):
        run = latest_run()
    checkpoint, table = locate(run, args.checkpoint, args.table)
    how = args.device, args.backend
    return AdaptiveRecognizer(checkpoint, table, *how, threads=args.threads, mode=mode)
