import pytest

from mutualvideo.policy.batching import BatchLatency
from mutualvideo.table.query import QueryTable, Row
from tests.policy.rows import ROWS, A, B, C


def feed(latency, share, turns=60, subnet=B, available=8, slow=1.0, lone_ms=4.0):
    """Lets it choose among ``available`` clips; returns the sizes it took."""
    sizes = []
    for _ in range(turns):
        sizes.append(latency.size(subnet, available))
        latency.observe(subnet, sizes[-1], slow * lone_ms * sizes[-1] * share(sizes[-1]))
    return sizes


@pytest.mark.parametrize(
    ("shares", "best"),
    [
        ({1: 1, 2: 0.7, 4: 0.5, 8: 0.4}, 8),
        ({1: 1, 2: 0.7, 4: 0.6, 8: 1.1}, 4),
        # Openvino, X3D-M 0.63x4x112 on two cores.
        ({1: 1, 2: 0.75, 4: 0.69, 8: 1.02}, 4),
        ({1: 1, 2: 1.0, 4: 1.0, 8: 1.0}, 1),
        ({1: 1, 2: 1.2, 4: 0.8, 8: 0.79}, 4),
    ],
)
def test_the_size_that_saves_most_is_found(shares, best):
    latency = BatchLatency(QueryTable(ROWS), 8)
    sizes = feed(latency, shares.get)
    assert set(sizes[30:]) == {best}
    # Every size is tried a few times, one after the other, and not again.
    assert sizes[:12] == [2] * 4 + [4] * 4 + [8] * 4
    assert latency.expected_ms(B, best) == pytest.approx(best * 4.0 * shares[best])
    # What was learnt of one row says nothing of another.
    assert latency.size(C, 8) == 2
    assert latency.size(B, 1) == 1


@pytest.mark.parametrize("most", [1, 2, 3, 5, 6])
def test_sizes_are_powers_of_two_within_the_bound(most):
    latency = BatchLatency(QueryTable(ROWS), most)
    sizes = feed(latency, lambda clips: 1 / clips)
    assert sizes[-1] == max(size for size in (1, 2, 4, 8) if size <= most)
    assert set(sizes) <= {1, 2, 4}


def test_batches_tell_the_speed_of_the_machine():
    latency = BatchLatency(QueryTable(ROWS), 8)
    feed(latency, {1: 1, 2: 0.8, 4: 0.6, 8: 0.5}.get)
    assert latency.slowdown.factor == pytest.approx(1.0) and latency.speed == 1.0
    feed(latency, {1: 1, 2: 0.8, 4: 0.6, 8: 0.5}.get, slow=2.0)
    assert latency.slowdown.factor == pytest.approx(2.0) == latency.speed
    assert latency.expected_ms(B, 8) == pytest.approx(2 * 4.0 * 8 * 0.5)
    assert latency.expected_ms(A) == pytest.approx(2 * 1.0)


def test_the_speed_is_steady_within_a_tenth():
    latency = BatchLatency(QueryTable(ROWS), 1)
    feed(latency, lambda clips: 1.0, slow=1.09)
    assert latency.slowdown.factor == pytest.approx(1.09) and latency.speed == 1.0
    feed(latency, lambda clips: 1.0, slow=1.2)
    assert latency.speed == pytest.approx(1.2)


def test_time_outside_the_network_is_reckoned_with():
    latency = BatchLatency(QueryTable(ROWS), 8)
    for _ in range(9):
        latency.observe(B, 1, 4.0, other_ms=3.0)
    assert latency.other_ms == 3.0 and latency.expected_ms(C) == pytest.approx(19.0)


def test_a_size_that_failed_is_not_tried_again():
    latency = BatchLatency(QueryTable(ROWS), 8)
    feed(latency, lambda clips: 1 / clips, turns=9)
    latency.failed(B, 8)
    assert set(feed(latency, lambda clips: 1 / clips)) == {4}
    latency.failed(B, 2)
    assert latency.size(B, 8) == 1


def test_a_size_is_judged_anew_after_a_while():
    """Measured while something else held the machine, a size would be wrong for ever."""
    latency = BatchLatency(QueryTable(ROWS), 2)
    feed(latency, lambda clips: 1.0 if clips == 1 else 0.9, turns=20)
    # Now and then one clip comes alone.
    sizes = []
    for turn in range(2000):
        available = 1 + turn % 2
        sizes += feed(latency, lambda clips: 1.0 if clips == 1 else 0.5, 1, B, available)
    assert latency.expected_ms(B, 2) == pytest.approx(2 * 4.0 * 0.5)
    assert latency.expected_ms(B, 1) == pytest.approx(4.0)


def test_without_latencies_single_clips_come_first():
    table = QueryTable([Row(row.subnet, row.macs, 1, row.top1, 100.0) for row in ROWS])
    latency = BatchLatency(table, 8)
    assert latency.expected_ms(A, 4) == 0.0
    assert feed(latency, {1: 1, 2: 0.8, 4: 0.6, 8: 0.5}.get)[:4] == [1, 1, 1, 2]
    assert latency.expected_ms(B) == pytest.approx(4.0)
    # By MACs from the nearest known one.
    assert latency.expected_ms(C) == pytest.approx(16.0)
