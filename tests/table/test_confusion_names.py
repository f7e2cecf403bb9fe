"""Names of classes in the picture of a confusion matrix."""

import warnings

import numpy as np
import pytest

from mutualvideo.evaluation.confusion import _drawable, plot_confusion


@pytest.mark.parametrize(
    "name, drawn",
    [
        ("jump", "jump"),
        ("über die Straße", "über die Straße"),
        ("прыжок", "прыжок"),
        ("跳", "class 0"),
        ("jump 🏃", "class 0"),
        ("a\tb", "class 0"),
    ],
)
def test_names_that_the_font_has(name, drawn):
    assert _drawable([name]) == [drawn]


def test_no_letter_and_no_formula_is_warned_of(tmp_path):
    names = ["跳", "100 $ and $ more", "plain", "$\\x$"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_confusion(np.eye(4, dtype=np.int64), tmp_path / "confusion.png", names)
    assert (tmp_path / "confusion.png").stat().st_size > 1000
