import numpy as np
import pytest

from mutualvideo.budget import Budget
from mutualvideo.play.overlay import Overlay, Status, scale_of
from mutualvideo.subnet import Subnet
from tests.play.fakes import TABLE

ANSWERS = [("waving with both hands", 0.9), ("b", 0.08), ("c", 0.0)]
AMBER, BLUE, BRIGHT = (255, 179, 56), (52, 118, 196), (66, 152, 247)


def status(macs=600, budget=("macs", 800), answers=ANSWERS, ms=12.0):
    return Status(Subnet(0.5, 4, 112), macs, ms, Budget(*budget), answers)


def is_colour(picture, colour):
    return (np.abs(picture.astype(int) - colour) < 12).all(-1)


@pytest.mark.parametrize(
    ("size", "picture"),
    [
        ((128, 128), (320, 320)),
        ((48, 64), (320, 428)),
        ((720, 1280), (720, 1280)),
        ((721, 1281), (722, 1282)),
        ((320, 640), (320, 640)),
        ((64, 30), (684, 320)),
    ],
)
def test_the_picture_is_large_enough_and_left_alone(size, picture):
    overlay = Overlay(*size, "macs", 1000, 4.0)
    overlay.update(0.0, status())
    drawn = overlay.draw(1.0, np.full((*size, 3), 200, np.uint8))
    assert drawn.shape == (*overlay.size, 3) and drawn.dtype == np.uint8
    # Codecs want even numbers.
    assert overlay.size[0] % 2 == overlay.size[1] % 2 == 0
    assert (drawn[: picture[0], : picture[1]] == 200).all()
    panel, strip = drawn[: picture[0], picture[1] :], drawn[picture[0] :]
    assert panel.shape[1] > 200 and strip.shape[0] > 60
    # Dark, with text on it.
    for part in (panel, strip):
        assert np.median(part) < 60 and part.max() > 200


def test_a_frame_of_another_size_is_fitted():
    overlay = Overlay(320, 400, "macs", 1000)
    drawn = overlay.draw(0.0, np.full((100, 50, 3), 90, np.uint8))
    assert drawn.shape[:2] == overlay.size and (drawn[:320, :400] == 90).all()


def test_bars_grow_with_the_score():
    def blue(score):
        overlay = Overlay(320, 320, "macs", 1000, 4.0)
        overlay.update(0.0, status(answers=[("", score)]))
        return is_colour(overlay.draw(0.0, np.zeros((320, 320, 3), np.uint8))[:320], BRIGHT).sum()

    assert blue(0.0) == 0
    assert blue(0.5) / blue(0.25) == pytest.approx(2, rel=0.02)
    assert blue(1.0) / blue(0.25) == pytest.approx(4, rel=0.02)


def test_long_text_is_shortened_not_drawn_outside():
    overlay = Overlay(320, 320, "macs", 1000, 4.0)
    overlay.update(0.0, status(answers=[("W" * 500, 1.0)]))
    drawn = overlay.draw(1.0, np.zeros((320, 320, 3), np.uint8))
    margin = drawn[:320, -8:]
    assert (margin == margin[0, 0]).all()


def columns(strip, colour):
    """(height of the colour in rows, highest row from below) of every column of the strip."""
    # Below the legend.
    marked = is_colour(strip[len(strip) // 3 :], colour)
    return marked.sum(0), len(marked) - np.argmax(marked, axis=0)


def test_the_strip_shows_budget_and_cost_over_the_film():
    overlay = Overlay(320, 320, "macs", 1000, 8.0)
    for time_s, macs, budget in ((0.0, 200, 250), (2.0, 800, 900), (4.0, 400, 500)):
        overlay.update(time_s, status(macs, ("macs", budget)))
    strip = overlay.draw(6.0, np.zeros((320, 320, 3), np.uint8))[320:]
    width = strip.shape[1]
    spent, _ = columns(strip, BLUE)
    middles = [width * second // 8 for second in (1, 3, 5, 7)]
    heights = [spent[middle] for middle in middles]
    # One pixel of rounding, one where the line touches.
    assert heights[1] == pytest.approx(4 * heights[0], abs=5)
    assert heights[2] == pytest.approx(2 * heights[0], abs=3)
    assert heights[3] == 0, "the future is not known yet"
    marked, top = columns(strip, AMBER)
    assert marked[middles[3]] == 0
    assert top[middles[1]] / top[middles[2]] == pytest.approx(1.8, rel=0.15)
    assert (strip[-10:, width * 6 // 8 - 3 : width * 6 // 8 + 3] > 200).all(-1).any(0).any()


def test_a_live_strip_slides_and_forgets():
    overlay = Overlay(320, 320, "ms", 100.0)
    for second in range(200):
        overlay.update(second, status(ms=90.0 if second < 180 else 20.0, budget=("ms", 95.0)))
        strip = overlay.draw(second, np.zeros((320, 320, 3), np.uint8))[320:]
    assert len(overlay._history) < 40
    # The last 30 s: a third dear, two thirds cheap.
    spent, _ = columns(strip, BLUE)
    dear = (spent > spent.max() / 2).mean()
    assert dear == pytest.approx(11 / 30, abs=0.04)


def test_a_budget_in_other_units_is_not_drawn():
    overlay = Overlay(320, 320, "macs", 1000, 4.0)
    overlay.update(0.0, status(budget=("ms", 30.0)))
    strip = overlay.draw(3.0, np.zeros((320, 320, 3), np.uint8))[320:]
    assert columns(strip, AMBER)[0].sum() == 0 and columns(strip, BLUE)[0].sum() > 100


def test_before_the_first_clip():
    overlay = Overlay(320, 320, "macs", 1000)
    assert overlay.draw(0.0, np.zeros((320, 320, 3), np.uint8)).shape[:2] == overlay.size


@pytest.mark.parametrize(
    ("budgets", "expected"),
    [
        ([("macs", 500), ("macs", 200)], ("macs", 550)),
        # No row costs more than 1000 or 8 ms.
        ([("macs", 10**9)], ("macs", 1650)),
        ([("ms", 5.0), ("macs", 500)], ("macs", 550)),
        ([("ms", 5.0), ("ms", 1e6)], ("ms", 13.2)),
    ],
)
def test_the_scale(budgets, expected):
    kind, highest = scale_of([Budget(*budget) for budget in budgets], TABLE)
    assert kind == expected[0] and highest == pytest.approx(expected[1])
