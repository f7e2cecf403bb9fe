"""Draws clips_flops_accuracy.png from the table of results.md: python docs/clips_figure.py

The picture says inside which table it shows, so that a test notices when the two differ.
"""

import json
import re
from pathlib import Path

from PIL import Image, PngImagePlugin

from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable, Row

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "clips_flops_accuracy.png"
KEY = "mutualvideo-table"


def read_table(page=ROOT / "docs" / "results.md"):
    """``{sub-network: [top-1 in percent, multiply-adds in millions]}`` of the table on the page."""
    text = page.read_text(encoding="utf-8")
    head, _, *lines = re.search(r"^\| width \| 8 x 80.*?(?=\n\n)", text, re.M | re.S)[0].split("\n")
    shapes = [cell.strip().replace(" ", "") for cell in head.strip("| ").split("|")[1:]]
    found = {}
    for line in lines:
        width, *cells = (cell.strip() for cell in line.strip("| ").split("|"))
        for shape, cell in zip(shapes, cells, strict=True):
            top1, millions = re.fullmatch(r"([\d.]+) \((\d+)M\)", cell).groups()
            found[str(Subnet.parse(f"{width}x{shape}"))] = [float(top1), int(millions)]
    return found


def main():
    values = read_table()
    rows = [
        Row(Subnet.parse(name), millions * 10**6, 0, top1, None)
        for name, (top1, millions) in values.items()
    ]
    QueryTable(rows).plot(PICTURE, title="A small X3D on 36 real clips, mean of 3 seeds")
    about = PngImagePlugin.PngInfo()
    about.add_text(KEY, json.dumps(values))
    with Image.open(PICTURE) as picture:
        picture.load()
        picture.save(PICTURE, pnginfo=about)


if __name__ == "__main__":
    main()
