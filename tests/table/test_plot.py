import subprocess
import sys

import pytest
from PIL import Image

from mutualvideo.errors import InputError
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable, Row


@pytest.mark.parametrize("cost", ["macs", "ms"])
def test_plot_writes_a_picture(random_table, tmp_path, cost):
    path = tmp_path / "plots" / "curve.png"
    overlay = ("published", [(1e-6, 60.0), (5e-7, 50.0)])
    random_table(1).plot(path, title="a title", overlays=[overlay] * 5, cost=cost)
    with Image.open(path) as picture:
        assert picture.size == (1920, 1080)
        # Points and lines, not an empty page.
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 500
    assert [p.name for p in path.parent.iterdir()] == ["curve.png"]


def test_svg_shows_names_and_overlays(tmp_path):
    rows = [Row(Subnet(w, None, 128), int(w * 1e9), 1, 70 + w) for w in (0.25, 0.5, 1.0)]
    table = QueryTable(rows, {"model": "MobileNet v1", "dataset": "ImageNet"})
    path = tmp_path / "curve.svg"
    table.plot(path, overlays=[("US-Net", [(0.5, 69.0)])])
    svg = path.read_text()
    for text in ("MobileNet v1 on ImageNet", "US-Net", "0.25x128", "1x128", "Width"):
        assert f"<!-- {text} -->" in svg


@pytest.mark.parametrize(
    "classes, drawn, said", [(2, True, False), (400, False, True), (None, False, False)]
)
def test_chance_is_a_line_where_it_lies_near_and_words_where_not(tmp_path, classes, drawn, said):
    rows = [Row(Subnet(w, None, 128), int(w * 1e9), 1, 52 + 20 * w) for w in (0.25, 0.5, 1.0)]
    path = tmp_path / "curve.svg"
    QueryTable(rows, {"num_classes": classes}).plot(path)
    svg = path.read_text()
    assert ("<!-- chance -->" in svg) == drawn and ("; chance 0.25 -->" in svg) == said


def test_plot_refuses(random_table, tmp_path):
    with pytest.raises(InputError, match="no top1"):
        random_table(0, accuracy=False).plot(tmp_path / "a.png")
    with pytest.raises(InputError, match="no latency"):
        random_table(0, latency=False).plot(tmp_path / "a.png", cost="ms")
    with pytest.raises(InputError, match="a.txt: unknown picture format"):
        random_table(0).plot(tmp_path / "a.txt")
    assert not list(tmp_path.iterdir())


def test_the_table_imports_matplotlib_only_to_draw():
    code = "import sys, mutualvideo.table; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
