"""Frames on screen at equally distant instants, against what a clock would show."""

import pytest

from mutualvideo.media.instants import Instants


def given(instants, times):
    """``{instant: time of the frame on screen}``; frames are their own times here."""
    return {
        round(instant, 6): frame
        for time_s in times
        for instant, frame in instants.until(time_s, time_s)
    }


def test_of_a_recording_none_is_left_out():
    times = [0.0, 0.1, 0.25, 0.9]
    instants = Instants(0.2, live=False)
    # What was on screen at 0.2 came at 0.1; a frame that comes right then is on screen.
    assert given(instants, times) == {0.0: 0.0, 0.2: 0.1, 0.4: 0.25, 0.6: 0.25, 0.8: 0.25}
    assert instants.missed == 0


def test_sums_of_floats():
    """Thirty a second, every third: the frame itself and not the one before it."""
    instants = Instants(3 / 30, live=False)
    assert list(given(instants, [n / 30 for n in range(31)]).values()) == [
        pytest.approx(n / 30) for n in range(0, 31, 3)
    ]


def test_of_a_camera_those_are_left_out_for_which_there_was_no_time():
    instants = Instants(0.2, live=True)
    assert given(instants, [0.0, 0.2, 1.3]) == {0.0: 0.0, 0.2: 0.2, 1.2: 0.2}
    assert instants.missed == 4  # 0.4, 0.6, 0.8 and 1.0
