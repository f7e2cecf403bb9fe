"""Means and spreads of the CIFAR runs of docs/results.md, and their picture.

python docs/results_cifar.py --runs output/cifar
"""

import argparse
from pathlib import Path
from statistics import mean, stdev

import matplotlib

from mutualvideo import QueryTable

HERE = Path(__file__).parent
LOOKS = {
    "single": ("k", "*", 12),
    "width_only": ("tab:orange", "s", 5),
    "mutual": ("tab:blue", "o", 5),
}


def collect(runs):
    """``{mode: [(Row, mean top-1, standard deviation), ...]}``, cheapest row first."""
    found = {}
    for mode in LOOKS:
        tables = [
            QueryTable.load_json(p) for p in sorted(Path(runs).glob(f"{mode}-?/query_table.json"))
        ]
        rows = sorted(tables[0], key=lambda row: row.macs)
        tops = [[table[row.subnet].top1 for table in tables] for row in rows]
        found[mode] = [(r, mean(t), stdev(t)) for r, t in zip(rows, tops, strict=True)]
        print(f"{mode}: {len(tables)} seeds")
    return found


def draw(found, path):
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), constrained_layout=True)
    for mode, points in found.items():
        color, marker, size = LOOKS[mode]
        # Rows that nothing cheaper beats make the line.
        line, best = [], 0
        for row, top1, _ in points:
            if top1 > best:
                line.append((row.macs / 1e6, top1))
                best = top1
        axes.plot(*zip(*line, strict=True), color=color, lw=1)
        axes.errorbar(
            [row.macs / 1e6 for row, *_ in points],
            [top1 for _, top1, _ in points],
            [spread for *_, spread in points],
            fmt=marker,
            ms=size,
            color=color,
            capsize=3,
            label=mode,
        )
    axes.set(xlabel="million multiply-adds", ylabel="top-1 (%), mean of 3 seeds", xscale="log")
    axes.set_xticks((2, 5, 10, 20), ("2", "5", "10", "20"))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", default="output/cifar", help="folder of MODE-SEED folders")
    parser.add_argument("--output", default=HERE / "results_cifar.png")
    args = parser.parse_args()
    found = collect(args.runs)
    for mode, points in found.items():
        for row, top1, spread in reversed(points):
            print(f"| {mode} | {row.subnet} | {row.macs / 1e6:.1f}M | {top1:.1f} ± {spread:.1f} |")
    draw(found, args.output)


if __name__ == "__main__":
    main()
