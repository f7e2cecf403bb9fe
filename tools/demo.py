"""Play a video through a trained network under one or several budgets.

    python tools/demo.py --run output/toy --video clip.mp4 --budget 40M --budget 10M

Every budget rules an equal part of the video. Writes an annotated mp4 and a CSV.
"""

import argparse
from pathlib import Path

from mutualvideo.cli import run_tool
from mutualvideo.errors import InputError
from mutualvideo.runtime import AdaptiveRecognizer
from mutualvideo.runtime.stream import play
from mutualvideo.table import QueryTable, format_macs, parse_budget


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", metavar="DIR", help="OUTPUT_DIR of a run", default="output/toy")
    parser.add_argument("--table", help="query table (default: query_table.json of --run)")
    parser.add_argument("--checkpoint", help="default: the one that the table names")
    parser.add_argument("--video", required=True, help="video file to recognise")
    parser.add_argument(
        "--budget",
        required=True,
        action="append",
        help="per clip: multiply-adds (1.2G, 300M) or latency (40ms); give several to change it",
    )
    parser.add_argument("--output", default="output/demo", metavar="DIR", help="for mp4 and CSV")
    parser.add_argument("--stride", type=float, default=0.5, help="seconds between predictions")
    parser.add_argument("--device", help="cpu, cuda, ... (default: CUDA if there is one)")
    return parser.parse_args()


def main():
    args = parse_args()
    budgets = [parse_budget(text) for text in args.budget]
    table = QueryTable.load_json(args.table or Path(args.run) / "query_table.json")
    checkpoint = args.checkpoint or table.path_of("checkpoint")
    if checkpoint is None:
        raise InputError("the query table names no checkpoint: give --checkpoint")
    recognizer = AdaptiveRecognizer(checkpoint, table, device=args.device)
    summaries, mp4, csv = play(recognizer, args.video, budgets, args.output, args.stride)
    print("budget        sub-network      MACs  ms/clip  clips  answer")
    for part in summaries:
        print(
            f"{part.budget:<12}  {part.row.subnet!s:<13}  {format_macs(part.row.macs):>6}"
            f"  {part.latency_ms:7.1f}  {part.clips:5}  {part.label} ({100 * part.score:.0f} %)"
        )
    print(f"wrote {mp4} and {csv}")


if __name__ == "__main__":
    run_tool(main)
