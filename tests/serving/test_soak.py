"""Thousands of clips from many threads: nobody is forgotten, nothing grows."""

import gc
import multiprocessing
import os
import random
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import torch

from mutualvideo.backends.common import to_runtime
from mutualvideo.runtime import AdaptiveRecognizer
from mutualvideo.serving.service import Service

SHAPES = ((6, 40, 40, 3), (3, 12, 48, 40), (1, 3, 4, 33, 61), (9, 64, 48, 3), (1, 40, 56, 3))
THREADS = 8
FIXED = 25  # every so many requests one names its row
MIB = 2**20


def clip_of(number):
    """A clip of its own for every request, of one of five shapes."""
    shape = SHAPES[number % len(SHAPES)]
    return np.random.default_rng(number).integers(0, 256, shape, np.uint8)


def resident_mib():
    gc.collect()
    return psutil.Process(os.getpid()).memory_info().rss / MIB


def soak(recognizer, service, clips):
    """Answers to clips 0, 1... from THREADS threads, in four quarters; memory after each."""
    rows = sorted((row for row in recognizer.table if calibrated(recognizer, row)), key=macs_of)
    answers, memory = {}, []

    def ask(number):
        draw = random.Random(number)
        if number % FIXED == 0:
            # Waits for its row, whatever others are ready.
            row = rows[number // FIXED % len(rows)]
            budget, limit, deadline_ms = {"subnet": row.subnet}, row.macs, None
        else:
            limit = int(draw.choice(rows).macs * draw.uniform(1, 1.2))
            budget = {"macs": limit}
            deadline_ms = draw.choice([None, None, 1e-3, draw.uniform(1, 40), 1e5])
        future, calls = service.submit(clip_of(number), **budget, deadline_ms=deadline_ms), []
        future.add_done_callback(calls.append)
        answer = future.result(60)
        assert budget.get("subnet", answer.subnet) == answer.subnet
        return number, limit, deadline_ms, answer, calls

    with ThreadPoolExecutor(THREADS) as pool:
        for quarter in range(4):
            numbers = range(quarter * clips // 4, (quarter + 1) * clips // 4)
            for number, *rest in pool.map(ask, numbers):
                answers[number] = rest
            memory.append(resident_mib())
    return answers, memory


def macs_of(row):
    return row.macs


def row_of(item):
    _, (_, _, answer, _) = item
    return str(answer.subnet)


def calibrated(recognizer, row):
    try:
        recognizer.backend.check(row.subnet)
    except ValueError:
        return False
    return True


def check(recognizer, service, answers, clips, step=1):
    """Each exactly once, within its budget, with the scores of the row that it names."""
    assert sorted(answers) == list(range(clips))
    # Row by row: a cache that is too small is not asked for another one each time.
    for number, (limit, deadline_ms, answer, calls) in sorted(answers.items(), key=row_of):
        assert len(calls) == 1
        assert recognizer.table[answer.subnet].macs == answer.macs <= limit
        if deadline_ms == 1e-3:
            assert answer.late
        elif deadline_ms is None:
            assert not answer.late
        if number % step == 0:
            direct = recognizer.predict(clip_of(number), subnet=answer.subnet)
            np.testing.assert_allclose(answer.scores, direct.scores, atol=1e-4)
    stats = service.stats
    assert (stats.answered, stats.waiting, stats.failed, stats.refused) == (clips, 0, 0, 0)
    assert stats.batches < clips


def threads():
    return {thread.name for thread in threading.enumerate()} & {"service", "prepare"}


def soaked(run, clips):
    """The memory after each quarter, once all is well with the answers."""
    torch.set_num_threads(1)
    recognizer = AdaptiveRecognizer(run, device="cpu")
    with Service(recognizer) as service:
        answers, memory = soak(recognizer, service, clips)
    assert not threads()
    check(recognizer, service, answers, clips)
    return memory


@pytest.mark.slow
@pytest.mark.parametrize("clips", [900])
def test_soak(run_dir, clips):
    # A process of its own: what other tests left behind moves the memory of this one.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        memory = pool.submit(soaked, run_dir, clips).result()
    # Of what is answered, only the answers kept here stay: a few hundred bytes each.
    assert memory[3] - memory[0] < 8, memory


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:FutureWarning")
def test_soak_with_a_cache_that_is_too_small(run_dir, monkeypatch):
    pytest.importorskip("openvino")
    clips, prepared, converted = 400, [], {}
    convert = to_runtime.to_openvino

    def to_openvino(network, shape):
        # Seconds each time, and nothing that is kept or let go: the three shapes differ.
        if shape not in converted:
            converted[shape] = convert(network, shape)
        return converted[shape]

    monkeypatch.setattr(to_runtime, "to_openvino", to_openvino)
    # Two of the three rows fit.
    recognizer = AdaptiveRecognizer(
        run_dir / "c.pyth", run_dir / "query_table.json", backend="openvino", cache_mib=1.2
    )
    prepare = recognizer.backend.prepare
    recognizer.backend.prepare = lambda subnet: prepared.append(subnet) or prepare(subnet)
    with Service(recognizer) as service:
        answers, memory = soak(recognizer, service, clips)
    print(len(prepared), memory, service.stats)
    # Some were let go and prepared again.
    assert len(prepared) > 2 * len(set(prepared)) == 6
    check(recognizer, service, answers, clips, step=10)
    assert memory[3] - memory[0] < 64, memory
    assert not threads()
