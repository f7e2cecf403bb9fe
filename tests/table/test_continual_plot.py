"""Both forms over the cost of a second."""

import csv

import pytest

from mutualvideo.errors import InputError
from mutualvideo.subnet import Subnet
from mutualvideo.table.continual_plot import curves, plot_continual
from mutualvideo.table.continual_table import ContinualRow, ContinualTable
from mutualvideo.table.query import QueryTable, Row

WIDE, NARROW = Subnet(1, 8, 48), Subnet(0.5, 8, 48)
# A frame costs an eighth of a clip of eight.
CLIPS = QueryTable([Row(WIDE, 800, 1, 90.0), Row(NARROW, 160, 1, 80.0)])
FRAMES = ContinualTable(
    [ContinualRow(WIDE, 100, 15.0, 4, 9, 91.0), ContinualRow(NARROW, 20, 15.0, 4, 9, 79.0, 2.5)],
    {"model": "X3D", "dataset": "toy"},
)


def test_a_second_of_each_form():
    found = [[point[:2] for point in points] for points in curves(FRAMES, CLIPS).values()]
    assert found == [
        [(300, 79.0), (1500, 91.0)],
        [(2400, 80.0), (12000, 90.0)],
        # A window of eight of 15 frames a second is given once in 8 / 15 s.
        [(300, 80.0), (1500, 90.0)],
    ]


def test_the_picture_names_its_curves(tmp_path):
    plot_continual(FRAMES, CLIPS, tmp_path / "curve.svg")
    svg = (tmp_path / "curve.svg").read_text()
    for text in (*curves(FRAMES, CLIPS), "X3D on toy", "top-1 accuracy of videos (%)"):
        assert f"<!-- {text} -->" in svg


def test_what_cannot_be_drawn(tmp_path):
    with pytest.raises(InputError, match="no row of 1x8x48"):
        plot_continual(FRAMES, QueryTable(CLIPS.rows[1:]), tmp_path / "curve.svg")
    without = ContinualTable([ContinualRow(WIDE, 100, 15.0, 4, 9)])
    with pytest.raises(InputError, match="1x8x48@continual: no top1"):
        plot_continual(without, CLIPS, tmp_path / "curve.svg")


def test_csv(tmp_path):
    FRAMES.save_csv(tmp_path / "rows.csv")
    with open(tmp_path / "rows.csv", newline="") as file:
        cheap, dear = csv.DictReader(file)
    assert (cheap["row"], cheap["macs_per_s"], cheap["latency_ms"]) == (
        "0.5x8x48@continual",
        "300",
        "2.5",
    )
    assert (dear["macs"], dear["top1"], dear["latency_ms"]) == ("100", "91.0", "")
