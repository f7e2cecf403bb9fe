"""Positions of the slider become budgets, rows and answers."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from mutualvideo.budget import Budget
from mutualvideo.errors import InputError
from mutualvideo.table.query import QueryTable
from mutualvideo.web.session import Scale, Visitor, answer, in_words, scales
from tests.runtime.conftest import FULL, GRID


@pytest.fixture(scope="module")
def table(run_dir):
    """The rows that can be run."""
    table = QueryTable.load_json(run_dir / "query_table.json")
    return QueryTable(table.rows[: len(GRID)], table.metadata)


@pytest.mark.parametrize("unit", ["macs", "ms", "fps"])
def test_every_row_of_the_front_is_reached(table, unit):
    scale = Scale(table, unit)
    chosen = [scale.choose(position / 2)[1].subnet for position in range(201)]
    wanted = [subnet for subnet, _ in GRID]
    assert list(dict.fromkeys(chosen)) == (wanted[::-1] if unit == "fps" else wanted)


def test_the_ends_and_the_middle_of_a_scale(table):
    low, high = table.rows[0].macs, table.rows[-1].macs
    scale = Scale(table, "macs")
    assert scale.at(0) == Budget("macs", low) and scale.at(100) == Budget("macs", high)
    assert scale.at(50).value == pytest.approx(np.sqrt(low * high), rel=1e-6)
    # 2 and 4 ms in the table: 250 to 500 clips a second.
    assert Scale(table, "ms").at(50).value == pytest.approx(np.sqrt(8))
    assert [Scale(table, "fps").at(p).value for p in (0, 100)] == pytest.approx([250, 500])


@pytest.mark.parametrize("latency_ms", [0.1, 1 / 3, 3.7, 1234.567])
@pytest.mark.parametrize("unit", ["ms", "fps"])
def test_one_row_is_within_its_own_budget(table, latency_ms, unit):
    row = replace(table.rows[0], latency_ms=latency_ms)
    for position in (0, 33.3, 100):
        assert Scale(QueryTable([row]), unit).choose(position)[1] is row


@pytest.mark.parametrize("position", [-1, 100.5, float("nan"), "7", None, [1]])
def test_bad_positions(table, position):
    with pytest.raises(InputError, match="from 0 to 100"):
        Scale(table, "macs").at(position)


def test_units(table):
    assert list(scales(table)) == ["macs", "ms", "fps"]
    unmeasured = QueryTable([replace(table.rows[0], latency_ms=None), *table.rows[1:]])
    assert list(scales(unmeasured)) == ["macs"]
    with pytest.raises(InputError, match="measure all rows"):
        Scale(unmeasured, "ms")
    with pytest.raises(InputError, match="unit 'parsecs'"):
        Scale(table, "parsecs")
    with pytest.raises(InputError):
        scales(QueryTable([]))


@pytest.mark.parametrize(
    ("budget", "text"),
    [
        (Budget("macs", 1_200_000_000), "at most 1.20G multiply-adds per clip"),
        (Budget("ms", 40.04), "at most 40.0 ms per clip"),
        (Budget("fps", 25.0), "at least 25.0 clips per second"),
    ],
)
def test_budgets_in_words(budget, text):
    assert in_words(budget) == text


def test_visitors_do_not_disturb_each_other(recognizer, clip, table):
    """Each gets what the recogniser says for its own sub-network, and nobody switches it."""
    scale, failures = Scale(table, "macs"), []
    wanted = {
        position: recognizer.predict(clip.frames, subnet=subnet).scores
        for position, subnet in [(0, GRID[0][0]), (100, FULL)]
    }

    def visit(position):
        visitor = Visitor(clip)
        for number in range(8):
            found = answer(recognizer, scale, visitor, position)
            good = np.allclose(found.prediction.scores, wanted[position], atol=1e-6)
            if not good or len(found.history) != number + 1:
                failures.append((position, number))

    threads = [threading.Thread(target=visit, args=(position,)) for position in (0, 100, 0, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert recognizer.current is None


def test_remembers_a_bounded_number(recognizer, clip, table):
    visitor = Visitor(clip)
    for _ in range(70):
        found = answer(recognizer, Scale(table, "macs"), visitor, 0)
    assert len(found.history) == 60 and found.history[-1] is found.prediction


def test_without_a_clip(recognizer, table):
    with pytest.raises(InputError, match="upload a clip first"):
        answer(recognizer, Scale(table, "macs"), Visitor(), 50)


def test_a_row_that_was_never_calibrated(recognizer, clip):
    scale = Scale(recognizer.table, "ms")  # 2, 3, 4 and, not calibrated, 3.5
    position = 100 * np.log(3.6 / 2) / np.log(2)
    with pytest.raises(InputError, match="0.5x6x40.*calibrated"):
        answer(recognizer, scale, Visitor(clip), float(position))
