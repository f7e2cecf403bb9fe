"""Play video through a trained network under a budget that may change.

    python tools/demo.py --run output/toy --source clip.mp4 --budget 40M --budget 10M
    python tools/demo.py --run output/toy --source webcam:0 --budget 40ms --seconds 60
    python tools/demo.py --run output/toy --source clip.mp4 --continual --budget 300M/s
    python tools/demo.py --run output/toy --web
    python tools/demo.py --run output/mobilenet --image photo.jpg --budget 300M --budget 50M

Writes an annotated mp4 and a CSV for every source. ^C ends the film early and keeps it.
"""

import argparse

from mutualvideo.budget import Budget
from mutualvideo.commands.extension_option import add_extension
from mutualvideo.commands.tool import run_tool
from mutualvideo.errors import InputError
from mutualvideo.play.picture_player import describe, recognise_pictures
from mutualvideo.play.playing_options import add_playing, play_as_asked
from mutualvideo.runtime import AdaptiveRecognizer
from mutualvideo.runtime.deployed import locate
from mutualvideo.signals import stop_on_signals
from mutualvideo.web.options import add_options, serve_page


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--run", metavar="DIR", help="OUTPUT_DIR or exported folder", default="output/toy")
    add("--table", help="query table (default: query_table.json of --run)")
    add("--checkpoint", help="default: the one that the table names")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--source", "--video", help="video, folder, webcam:0, rtsp:// or http(s)://")
    what.add_argument("--web", action="store_true", help="a page to try it in the browser")
    what.add_argument("--image", help="a picture or a folder of them: prints the best classes")
    text = "multiply-adds of a clip (1.2G), latency (40ms) or 25fps; several hold for equal parts"
    add("--budget", action="append", default=[], help=text)
    add("--budget-script", metavar="FILE", help="budgets over time: lines SECONDS BUDGET")
    add("--output", default="output/demo", metavar="DIR", help="for mp4 and CSV")
    add("--device", help="cpu, cuda, ... (default: CUDA if there is one)")
    add("--backend", help="torch, openvino, ... (default: torch, or what a folder was made for)")
    add("--threads", type=int, help="of the CPU, for openvino and onnxruntime")
    add_extension(parser)
    add_playing(parser)
    add_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    budgets = [Budget.parse(text) for text in args.budget]
    if args.continual and not args.source:
        raise InputError("--continual goes with --source: it is for videos and cameras")
    checkpoint, table = locate(args.run, args.checkpoint, args.table)
    how = args.device, args.backend
    mode = "continual" if args.continual else "clip"
    recognizer = AdaptiveRecognizer(checkpoint, table, *how, threads=args.threads, mode=mode)
    failed = False
    if args.image:
        for found in recognise_pictures(recognizer, args.image, budgets):
            print(describe(*found))
            failed |= isinstance(found[-1], InputError)
        return int(failed)
    with stop_on_signals() as stop:
        if args.web:
            return serve_page(recognizer, args, stop)
        for played in play_as_asked(recognizer, args, budgets, stop):
            bad = isinstance(played, InputError)
            print(f"error: {played}" if bad else played)
            failed |= bad or played.problem is not None
    return 1 if failed else 0


if __name__ == "__main__":
    run_tool(main)
