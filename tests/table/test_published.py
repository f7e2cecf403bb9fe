"""The published curves, against the file of facts beside the checkout and their own costs."""

import re

import pytest

from mutualvideo.errors import InputError
from mutualvideo.table.published import CURVES, published_curve
from tests.data.videos import SHARED


@pytest.mark.parametrize(
    ("name", "line"),
    [("slow", "MutualNet-Slow-8x8"), ("slowfast", "MutualNet-SlowFast-4x16"),
     ("x3d", "MutualNet-X3D-M")],
)  # fmt: skip
def test_points_are_the_published_ones(name, line):
    facts = SHARED.parent / "FACTS.md"
    if not facts.is_file():
        pytest.skip("the file of facts is not beside the checkout")
    (text,) = (one for one in facts.read_text().splitlines() if line in one)
    mutual, separate = re.split(r"Trained separately|Separately", text)
    pairs = [
        [tuple(map(float, pair)) for pair in re.findall(r"([\d.]*\d): ([\d.]*\d)", part)]
        for part in (mutual.partition(":")[2], separate.partition(":")[2])
    ]
    assert published_curve(name)[1] == pairs[0]
    assert set(published_curve(f"{name}-separate")[1]) <= set(pairs[1])


def test_curves_rise_with_their_costs():
    for _, points in CURVES.values():
        ordered = sorted(points)
        assert [y for _, y in ordered] == sorted(y for _, y in ordered)


def test_there_is_no_other():
    with pytest.raises(InputError, match="overlay 'x4d': choose from slow, "):
        published_curve("x4d")
