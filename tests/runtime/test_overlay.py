import numpy as np
import pytest

from mutualvideo.runtime.overlay import annotate, canvas_size

ANSWERS = [("waving with both hands", 0.9), ("b", 0.08), ("c", 0.0)]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((128, 128), (320, 320)),
        ((48, 64), (240, 320)),
        ((720, 1280), (720, 1280)),
        ((241, 321), (242, 322)),
        ((240, 320), (240, 320)),
        ((64, 30), (684, 320)),
    ],
)
def test_canvas_is_wide_and_even(size, expected):
    assert canvas_size(*size) == expected
    frame = np.full((*size, 3), 200, np.uint8)
    drawn = annotate(frame, ["0.5x4x112   1.20G MACs"], ANSWERS)
    assert drawn.shape == (*expected, 3) and drawn.dtype == np.uint8
    # The middle is left alone, top and bottom are darkened and written on.
    assert (drawn[expected[0] // 2] == 200).all()
    for band in (drawn[: expected[0] // 8], drawn[-expected[0] // 8 :]):
        assert band.min() < 100 and band.max() == 255


def test_bars_grow_with_the_score():
    frame = np.zeros((240, 320, 3), np.uint8)

    def blue(score):
        drawn = annotate(frame, [], [("", score)]).astype(int)
        return (drawn[..., 2] > drawn[..., 0] + 40).sum()

    assert blue(0.2) < blue(0.5) < blue(1.0)
    assert blue(1.0) / blue(0.5) == pytest.approx(2, rel=0.1)


def test_long_text_is_shortened_not_drawn_outside():
    frame = np.zeros((240, 320, 3), np.uint8)
    drawn = annotate(frame, ["W" * 500], [("W" * 500, 0.0)])
    assert drawn[:, -4:].max() == 0
