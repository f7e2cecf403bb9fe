"""Progress in a log that is no terminal."""

import logging

from mutualvideo.run.bars import tracked


def test_a_line_a_minute(caplog):
    caplog.set_level(logging.INFO)
    now = [100.0]
    seen = []
    for item in tracked(iter("abcdef"), "evaluate", 8, done=2, clock=lambda: now[0]):
        seen.append(item)
        now[0] += 40.0
    assert seen == list("abcdef")
    # After 80, 160 and 240 s; the last of the six says nothing, for all are done.
    assert [record.getMessage() for record in caplog.records] == [
        "evaluate: 4 of 8 batches, 0:02:40 left",
        "evaluate: 6 of 8 batches, 0:01:20 left",
    ]


def test_what_is_short_says_nothing(caplog):
    caplog.set_level(logging.INFO)
    assert list(tracked([1, 2], "latency", 2)) == [1, 2] and not caplog.records
