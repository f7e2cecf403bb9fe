import json

import numpy as np
import pytest
from PIL import Image

from mutualvideo.errors import InputError
from mutualvideo.subnet import Subnet
from mutualvideo.table.cascade import Cascade, CascadeCurve, CascadePoint, run_macs
from mutualvideo.table.cascade_plot import plot_cascades

A, B, C = Subnet(0.25, 4, 80), Subnet(0.5, 8, 80), Subnet(1, 8, 112)


def curve():
    return CascadeCurve(
        [
            CascadePoint(90, Cascade((A, C), (0.8,)), B, 80.5, 91.0, 60.0, 85.0, 2.0),
            CascadePoint(10, Cascade((A,), ()), A, 10.0, 70.0, 10.0, 70.0, 0.0),
            CascadePoint(50, Cascade((A, B, C), (0.4, 0.6)), A, 44.0, 72.0, 10.0, 70.0, 1.5),
        ],
        {"videos": 160},
    )


def test_the_first_sure_stage_answers():
    sure = np.array([[0.9, 0.5, 0.5, 0.8], [0.9, 0.9, 0.5, 0.3], [0.4, 0.4, 0.4, 0.4]])
    scores = np.stack([sure, 1 - sure], -1)
    scores[2] = 0.5
    # The confidence of (0.3, 0.7) is 0.7.
    answered = Cascade((A, B, C), (0.8, 0.6)).choose(scores.max(2))
    assert answered.tolist() == [0, 1, 2, 0]
    assert run_macs([10, 40, 100], answered).tolist() == [10, 50, 150, 10]
    assert Cascade((B,), ()).choose(scores[:1].max(2)).tolist() == [0, 0, 0, 0]


def test_a_cascade_has_a_name():
    text = str(Cascade((A, B, C), (0.5, 0.25)))
    assert text == "0.25x4x80 (below 0.50) 0.5x8x80 (below 0.25) 1x8x112"


@pytest.mark.parametrize(
    ("stages", "thresholds", "named"),
    [
        ((), (), "at least one stage"),
        ((A, A), (0.5,), "none of them twice"),
        ((A, B), (), "2 stages need 1 thresholds, got 0"),
        ((A, B), (1.5,), "0.25x4x80 > 0.5x8x80: thresholds"),
        ((A, B), (float("nan"),), "thresholds"),
    ],
)
def test_a_cascade_checks_itself(stages, thresholds, named):
    with pytest.raises(InputError, match=named):
        Cascade(stages, thresholds)


def test_best_is_a_cascade_only_where_it_wins():
    assert curve().best(macs=1e9) == Cascade((A, C), (0.8,))
    # 2 points more, 1.5 the error: not proven.
    assert curve().best(macs=89) == Cascade((A,), ())
    assert curve().best(macs=10) == Cascade((A,), ())
    with pytest.raises(InputError, match="below the cheapest cascade, 10 MACs"):
        curve().best(macs=9)
    with pytest.raises(InputError, match="budget macs='1G'"):
        curve().best(macs="1G")


def test_json_round_trip(tmp_path):
    path = tmp_path / "deep" / "c.json"
    curve().save_json(path)
    again = CascadeCurve.load_json(path)
    assert (again.points, again.metadata) == (curve().points, {"videos": 160})
    assert [point.budget_macs for point in again.points] == [10, 50, 90]


def change(content, path, value):
    *parents, last = path
    for key in parents:
        content = content[key]
    content[last] = value


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (["format"], "mutualvideo-query-table", "is not a file of cascades"),
        (["version"], 2, "version 2"),
        (["points"], {}, "points must be a list"),
        (["points"], [], "at least one point"),
        (["points", 1], 7, "point 2: expected exactly the fields budget_macs"),
        (["points", 1, "top_1"], 5, "point 2: expected exactly"),
        (["points", 1, "top1"], "70", "point 2: top1 must be a number"),
        (["points", 1, "gain_error"], float("nan"), "point 2: gain_error"),
        (["points", 1, "static"], "wide", "point 2: .*'wide'"),
        (["points", 1, "cascade"], [], "point 2: cascade must have"),
        (["points", 1, "cascade", "thresholds"], [None, 1], "point 2: thresholds"),
        (["points", 1, "cascade", "thresholds"], [0.5], "point 2: .* need 2 thresholds"),
        (["points", 1, "cascade", "stages"], [1, 2, 3], "point 2: .*1.*expected"),
    ],
)
def test_load_json_names_file_and_point(tmp_path, path, value, named):
    file = tmp_path / "c.json"
    curve().save_json(file)
    content = json.loads(file.read_text())
    change(content, path, value)
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"c.json: .*{named}") as info:
        CascadeCurve.load_json(file)
    assert "\n" not in str(info.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match="none.json: cannot be read"):
        CascadeCurve.load_json(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("no")
    with pytest.raises(InputError, match="text.json: is not a JSON"):
        CascadeCurve.load_json(tmp_path / "text.json")
    with pytest.raises(InputError, match="metadata"):
        CascadeCurve(curve().points, {"x": object()}).save_json(tmp_path / "x.json")
    assert not (tmp_path / "x.json").exists()


def test_plot(tmp_path):
    plot_cascades(curve(), tmp_path / "c.png", title="toy")
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.size == (1920, 1080)
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 200
    plot_cascades(curve(), tmp_path / "c.svg", title="a title")
    svg = (tmp_path / "c.svg").read_text()
    for text in ("a title", "cascade wins by two standard errors", "one row"):
        assert f"<!-- {text} -->" in svg
    with pytest.raises(InputError, match="c.txt: unknown picture format"):
        plot_cascades(curve(), tmp_path / "c.txt")
