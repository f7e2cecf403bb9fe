import random

import pytest

from mutualvideo.policy.slowdown import CHANGE, WINDOW, Slowdown
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import Row

A, B = Subnet(0.5, 8, 112), Subnet(1, 8, 112)


def rows(a=10.0, b=40.0):
    return [Row(A, 100, 1, 50.0, 90.0, a), Row(B, 500, 1, 60.0, 90.0, b)]


def test_the_table_is_believed_until_two_clips_contradict_it():
    slowdown = Slowdown(rows())
    assert (slowdown.factor, slowdown.expected_ms(B)) == (1.0, 40.0)
    slowdown.observe(A, 30.0)
    assert slowdown.factor == 1.0
    slowdown.observe(B, 120.0)
    assert (slowdown.factor, slowdown.expected_ms(A)) == (3.0, 30.0)


@pytest.mark.parametrize("seed", range(20))
def test_spikes_change_nothing(seed):
    draw, slowdown = random.Random(seed), Slowdown(rows())
    for clip in range(200):
        # Never two in a row.
        spike = draw.choice([1, 3, 50]) if clip % 3 == 0 else 1
        slowdown.observe(*draw.choice([(A, 10.0 * spike), (B, 40.0 * spike)]))
        assert slowdown.factor == 1.0


def test_small_changes_are_followed_within_half_a_window():
    slowdown = Slowdown(rows())
    for _ in range(WINDOW):
        slowdown.observe(A, 10.0)
    for _ in range(WINDOW // 2 + 1):
        slowdown.observe(A, 12.0)
    assert slowdown.factor == pytest.approx(1.2) and 1.2 < CHANGE


def test_what_was_known_before_a_slowdown_is_taken_up_again():
    slowdown = Slowdown(rows())
    for ms in [9.0, 10.0, 11.0] * 5 + [20.0] * 30:
        slowdown.observe(A, ms)
    assert slowdown.factor == 2.0
    for ms in (10.5, 10.5, 10.5):
        slowdown.observe(A, ms)
    # Not 1.05, what the last three clips alone say.
    assert slowdown.factor == 1.0


def test_a_slowdown_within_a_slowdown_does_not_make_forget():
    slowdown = Slowdown(rows())
    for ms in [9.0, 10.0, 11.0] * 5 + [20.0] * 12 + [40.0] * 12:
        slowdown.observe(A, ms)
    assert slowdown.factor == 4.0
    for ms in (21.0, 21.0, 21.0):
        slowdown.observe(A, ms)
    assert slowdown.factor == 2.0
    for ms in (10.5, 10.5, 10.5):
        slowdown.observe(A, ms)
    assert slowdown.factor == 1.0


def test_latencies_are_learnt_where_the_table_has_none():
    slowdown = Slowdown(rows(None, None))
    assert slowdown.factor is None and slowdown.expected_ms(A) is None
    for ms in (90.0, 8.0, 8.0):
        slowdown.observe(A, ms)
    # Five times the multiply-adds, until it answers itself.
    assert (slowdown.expected_ms(A), slowdown.expected_ms(B)) == (8.0, 40.0)
    for ms in (20.0, 20.0, 20.0):
        slowdown.observe(B, ms)
    assert (slowdown.expected_ms(A), slowdown.expected_ms(B)) == (8.0, 20.0)
    for _ in range(3):
        slowdown.observe(A, 16.0)
    assert (slowdown.expected_ms(A), slowdown.expected_ms(B)) == (16.0, 40.0)
