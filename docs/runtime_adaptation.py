"""Makes docs/runtime_adaptation.png: a budget of milliseconds while half of a core is taken away.

python docs/runtime_adaptation.py --run output/toy     (Linux: it pins itself to one core)
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch

from mutualvideo import AdaptiveRecognizer

CLIPS, TAKEN, GIVEN_BACK = 450, 150, 300
HERE = Path(__file__).parent


def measure(run, budget):
    """``[(ms, expected top-1), ...]`` of every clip, and the budget in ms."""
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    recognizer = AdaptiveRecognizer(run, device="cpu")
    clip = np.random.default_rng(0).integers(0, 256, (16, 128, 128, 3), np.uint8)
    dearest = recognizer.table.pareto("ms")[-1]
    times = [recognizer.predict(clip, subnet=dearest.subnet).latency_ms for _ in range(40)]
    ms = budget or 1.4 * float(np.median(times))
    recognizer.set_budget(ms=ms)
    found, tenant = [], None
    for number in range(CLIPS):
        if number == TAKEN:
            tenant = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        if number == GIVEN_BACK:
            tenant.kill()
            tenant.wait()
        answer = recognizer.predict(clip)
        found.append((answer.latency_ms, recognizer.table[answer.subnet].top1))
    return found, ms


def draw(found, ms, path):
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    times, expected = zip(*found, strict=True)
    figure, (above, below) = plt.subplots(
        2, sharex=True, figsize=(9, 4.5), height_ratios=(3, 2), constrained_layout=True
    )
    above.plot(times, lw=0.8, color="tab:blue")
    above.axhline(ms, color="tab:orange", label=f"budget {ms:.1f} ms")
    above.set(ylabel="ms a clip", ylim=(0, 2.2 * ms))
    above.legend(loc="upper right")
    below.step(range(len(expected)), expected, where="post", color="tab:green")
    below.set(ylabel="expected top-1 (%)", xlabel="clip")
    for axes in (above, below):
        axes.axvspan(TAKEN, GIVEN_BACK, color="0.9", zorder=0)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", default="output/toy", help="OUTPUT_DIR")
    parser.add_argument("--budget", type=float, help="ms (default: 1.4 of the dearest row's)")
    parser.add_argument("--output", default=HERE / "runtime_adaptation.png")
    args = parser.parse_args()
    draw(*measure(args.run, args.budget), args.output)


if __name__ == "__main__":
    main()
