"""Measures what the README claims, side by side in one run.

python tools/benchmark.py train        a mutual step against PyTorchVideo's plain step
python tools/benchmark.py depthwise    depthwise convolutions against torch's
python tools/benchmark.py switching    the time of changing the sub-network
python tools/benchmark.py memory       the in-place network against the plain one
python tools/benchmark.py slim         the sliced network against the extracted one
python tools/benchmark.py costs        multiply-adds of 100 sub-networks against torch's counter
python tools/benchmark.py grid         evaluating 12 sub-networks against decoding + forward passes
python tools/benchmark.py decode       a clip from the middle of a video; the loader
python tools/benchmark.py resize       clips of a resized video against the original
python tools/benchmark.py runtime      backends against PyTorchVideo's eager network
python tools/benchmark.py service      clips of 8 threads in batches against one by one
python tools/benchmark.py stream       a prediction for every frame, in continual form against clips
python tools/benchmark.py images       input of four sub-networks, and a mutual step of MobileNet v2
python tools/benchmark.py gpu          steps, latency, depthwise against memory: docs/performance.md

The last line is json_bench: {name: {ratio, and the two medians behind it}}.
"""

import argparse

import simplejson
import torch

from mutualvideo.benchmark import COMMANDS
from mutualvideo.commands.tool import run_tool


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS)
    command = parser.parse_args().command
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    found = COMMANDS[command]()
    for name, values in found.items():
        print(f"{name}: " + ", ".join(f"{key} {value:g}" for key, value in values.items()))
    print("json_bench:", simplejson.dumps(found))


if __name__ == "__main__":
    run_tool(main)
