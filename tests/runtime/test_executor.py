"""What recognisers, services and streams share: rows run by name, whatever the budget."""

import numpy as np
import pytest

from mutualvideo.errors import InputError
from mutualvideo.runtime import AdaptiveRecognizer
from mutualvideo.runtime.executor import Executor
from mutualvideo.serving.service import Service
from tests.runtime.conftest import CLASSES, FULL, GRID, UNCALIBRATED

SMALL = GRID[0][0]


@pytest.fixture(scope="module")
def clip():
    return np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), np.uint8)


def test_it_answers_as_the_recogniser(run_dir, clip):
    executor = Executor.open(run_dir, device="cpu")
    recognizer = AdaptiveRecognizer(run_dir, device="cpu")
    assert executor.class_names == tuple(CLASSES)
    for subnet in (SMALL, FULL):
        runner = executor.runners.get(executor.check(subnet))
        found = executor.predict(runner, executor.clips(clip))
        expected = recognizer.predict(clip, subnet=subnet)
        np.testing.assert_array_equal(found.scores, expected.scores)
        assert (found.subnet, found.macs, found.labels) == (
            subnet,
            executor.table[subnet].macs,
            expected.labels,
        )
        assert 0 < found.latency_ms <= found.total_ms


def test_rows_that_cannot_answer(run_dir):
    executor = Executor.open(run_dir, device="cpu")
    with pytest.raises(InputError, match="never calibrated"):
        executor.check(UNCALIBRATED)
    with pytest.raises(InputError, match="1x2x8 is not in the table"):
        executor.check(type(FULL)(1, 2, 8))


def test_a_service_runs_on_the_executor_of_its_recogniser(run_dir, clip):
    recognizer = AdaptiveRecognizer(run_dir, device="cpu")
    with Service(recognizer) as service:
        answer = service.submit(clip, subnet=SMALL).result(30)
    assert SMALL in recognizer.executor.runners
    np.testing.assert_allclose(answer.scores, recognizer.predict(clip, SMALL).scores, atol=1e-6)
