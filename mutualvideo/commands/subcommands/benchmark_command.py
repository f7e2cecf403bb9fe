"""Measures what the README claims, side by side in one run.

mutualvideo benchmark train        a mutual step against PyTorchVideo's plain step
mutualvideo benchmark depthwise    depthwise convolutions against torch's
mutualvideo benchmark switching    the time of changing the sub-network
mutualvideo benchmark memory       the in-place network against the plain one
mutualvideo benchmark slim         the sliced network against the extracted one
mutualvideo benchmark costs        multiply-adds of 100 sub-networks against torch's counter
mutualvideo benchmark grid         evaluating 12 sub-networks against decoding + forward passes
mutualvideo benchmark decode       a clip from the middle of a video; the loader
mutualvideo benchmark resize       clips of a resized video against the original
mutualvideo benchmark load         frames a second in the loader: resized, in shards, original
mutualvideo benchmark runtime      backends against PyTorchVideo's eager network
mutualvideo benchmark service      clips of 8 threads in batches against one by one
mutualvideo benchmark stream       a prediction for every frame, continual against clips
mutualvideo benchmark images       input of four sub-networks, and a mutual step of MobileNet v2
mutualvideo benchmark gpu          steps, latency, depthwise against memory: docs/performance.md

The last line is json_bench: {name: {ratio, and the two medians behind it}}.
"""

from __future__ import annotations

import argparse

from mutualvideo.benchmark import COMMANDS, measurement
from mutualvideo.benchmark.remarks import remarks_to
from mutualvideo.commands.silence import quietly
from mutualvideo.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("command", choices=COMMANDS, metavar="WHAT", help="one of these")
    parser.add_argument(
        "--minutes",
        type=float,
        help="of gpu: begin nothing more after so many; lists what it left out",
    )


def run(args: argparse.Namespace) -> None:
    import simplejson
    import torch

    options = {} if args.minutes is None else {"minutes": args.minutes}
    if options and args.command != "gpu":
        raise InputError(f"--minutes applies only to `benchmark gpu`, not to {args.command}")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    with quietly() as aloud, remarks_to(aloud):
        found = measurement(args.command)(**options)
    # Those of a GPU were printed one by one, for a machine that is taken away may not get this far.
    for name, values in found.items() if args.command != "gpu" else ():
        print(f"{name}: " + ", ".join(f"{key} {value:g}" for key, value in values.items()))
    print("json_bench:", simplejson.dumps(found))
