"""Writes a sub-network for another runtime, and checks that it answers the same.

mutualvideo export --run output/x3d_m --subnet 0.63x6x128 --format onnx --output x3d.onnx
mutualvideo export --run output/x3d_m --budget 1.2G --format openvino --output x3d.xml
mutualvideo export --run output/x3d_m --folder --format openvino --output output/x3d_m/deploy

The last one writes all rows worth having with their table, for AdaptiveRecognizer(PATH): it needs
no checkpoint, and for openvino and onnx no torch.

--continual: a stream's next frame and its state go in, the answer and the next state come out; of
a run that was evaluated with TABLE.CONTINUAL True.
Of a detector's run one row goes to onnx or openvino: a picture in, boxes, labels and scores out.

Exit code 1 if answers differ from the torch network's by more than 0.001: nothing is kept then;
2 if something that was given is wrong.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from mutualvideo.commands.extension_option import add_extension
from mutualvideo.export.formats import FORMATS, ROWS

if TYPE_CHECKING:
    from mutualvideo.export.subnet_file import Written


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_extension(parser)
    add("--run", metavar="DIR", help="OUTPUT_DIR of a run")
    add("--checkpoint", help="default: the one that the table names")
    add("--table", help="query table (default: query_table.json of --run)")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--subnet", help="WIDTHxFRAMESxSIZE: 0.63x6x128")
    what.add_argument(
        "--budget", help="the best row within 1.2G or 40ms; with --continual within 2G/s"
    )
    what.add_argument("--folder", action="store_true", help="many rows, for the runtime")
    add("--rows", choices=ROWS, default="pareto", help="with --folder: which (%(default)s)")
    add("--continual", action="store_true", help="in continual form; onnx or openvino")
    add("--format", required=True, choices=FORMATS)
    add("--output", required=True, metavar="PATH", help="file, or with --folder a new folder")


def run(args: argparse.Namespace) -> int:
    from mutualvideo.budget import Budget
    from mutualvideo.errors import InputError
    from mutualvideo.export import DifferenceError, export_folder, export_subnet, open_origin
    from mutualvideo.export.continual_file import export_continual
    from mutualvideo.runtime.stream_rows import stream_rows
    from mutualvideo.subnet import Subnet

    try:
        if args.run is not None and _is_of_detector(args.run):
            return _export_detector(args)
        source = open_origin(args.run, args.checkpoint, args.table)
        if args.folder and args.continual:
            raise InputError("--continual writes one sub-network, not a folder")
        if args.folder:
            written = export_folder(source, args.format, args.output, args.rows)
            print(f"wrote {args.output}: {len(written)} sub-networks, manifest.json")
            return 0
        if args.subnet is not None:
            subnet = Subnet.parse(args.subnet)
        elif args.continual:
            subnet = stream_rows(source.table)[0].best(args.budget).subnet
        else:
            subnet = source.table.best(Budget.parse(args.budget)).subnet
        export = export_continual if args.continual else export_subnet
        written = export(source, subnet, args.format, args.output)
    except DifferenceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return _tell(written)


def _is_of_detector(run: str) -> bool:
    from pathlib import Path

    from mutualvideo.table.query import QueryTable

    path = Path(run) / "query_table.json"
    # Exported folders, and whatever is no run, are told apart by who opens them.
    return path.is_file() and QueryTable.load_json(path).is_of_detector


def _export_detector(args: argparse.Namespace) -> int:
    from mutualvideo.budget import Budget
    from mutualvideo.errors import InputError
    from mutualvideo.export.detector_file import export_row
    from mutualvideo.runtime.adaptive_detector import AdaptiveDetector

    given = {
        "--folder": args.folder,
        "--continual": args.continual,
        "--checkpoint": args.checkpoint,
        "--table": args.table,
    }
    if refused := [name for name, value in given.items() if value]:
        raise InputError(f"{refused[0]}: of a detector one row of its --run is exported")
    detector = AdaptiveDetector.from_run(args.run, "cpu")
    subnet = args.subnet or detector.table.best(Budget.parse(args.budget)).subnet
    return _tell(export_row(detector, subnet, args.format, args.output))


def _tell(written: Written) -> int:
    print(written)
    print("wrote " + " and ".join(map(str, written.files)))
    return 0
