"""How long sub-networks take on this machine."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from mutualvideo.backends import Backend, Runner
from mutualvideo.subnet import Subnet

# The time of a row is spread over so many rounds: if the machine is busy with something else for
# some seconds, all rows are slowed down a little instead of one of them a lot.
_ROUNDS = 5
_WARM_UP = 2
# Prepared sub-networks that are held at once, to be measured in turns.
_HELD_MIB = 1024

Key = TypeVar("Key")


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one call with ``batch`` clips: median, and what 90 % of calls stay below."""

    median_ms: float
    p90_ms: float
    batch: int


def measure_rows(
    backend: Backend,
    subnets: Iterable[Subnet],
    batch: int = 1,
    seconds: float = 0.5,
    least: int = 5,
) -> Iterator[tuple[Subnet, dict[int, Latency]]]:
    """How long sub-networks take, measured in turns.

    Args:
        backend: :class:`~mutualvideo.backends.Backend`.
        subnets: which.
        batch: if it is above 1, calls with this many clips are measured as well.
        seconds: each for about this long ...
        least: ... but at least this many times, after calls that do not count.

    Yields:
        ``(subnet, {batch: Latency})``, in order.
    """
    group: list[Runner] = []
    held = 0
    for subnet in subnets:
        group.append(backend.prepare(subnet))
        held += group[-1].nbytes
        if held > _HELD_MIB * 2**20:
            yield from _measure_group(group, batch, seconds, least)
            group, held = [], 0
    yield from _measure_group(group, batch, seconds, least)


def _measure_group(
    runners: Sequence[Runner], batch: int, seconds: float, least: int
) -> Iterator[tuple[Subnet, dict[int, Latency]]]:
    sizes = [1] if batch == 1 else [1, batch]

    def ready(runner: Runner, size: int) -> Callable[[], object]:
        return partial(runner, _clips(runner, size))

    calls = {(one.subnet, size): partial(ready, one, size) for one in runners for size in sizes}
    times = measure_in_turns(calls, seconds, least)
    for runner in runners:
        yield runner.subnet, {size: latency_of(times[runner.subnet, size], size) for size in sizes}


def measure_in_turns(
    calls: Mapping[Key, Callable[[], Callable[[], object]]], seconds: float = 0.5, least: int = 5
) -> dict[Key, list[float]]:
    """Seconds of calls of several things, in turns.

    Args:
        calls: ``{key: function}`` that makes a call ready, whose time does not count, and returns
            it.
        seconds, least: see :func:`measure_rows`.

    Returns:
        ``{key: seconds of each call}``.
    """
    times: dict[Key, list[float]] = {key: [] for key in calls}
    for turn in range(_ROUNDS):
        for key, ready in calls.items():
            call = ready()
            found = _times(call, seconds / _ROUNDS)
            while turn == _ROUNDS - 1 and len(times[key] + found) < least:
                found += _times(call, 0)
            times[key] += found
    return times


def measure(runner: Runner, batch: int = 1, seconds: float = 0.5, least: int = 5) -> Latency:
    """:class:`Latency` of a single prepared sub-network; arguments as :func:`measure_rows`."""
    clips = _clips(runner, batch)
    times: list[float] = []
    while len(times) < least or sum(times) < seconds:
        times += _times(lambda: runner(clips), seconds)
    return latency_of(times, batch)


def about_latency(backend: Backend, batch: int = 1) -> dict[str, Any]:
    """What the times depend on, as JSON values: what the table's metadata says of them."""
    return {**backend.describe(), "batch": batch, **about_processor()}


def about_processor() -> dict[str, Any]:
    """The machine's part of :func:`about_latency`."""
    return {"processor": _processor(), "cores": os.cpu_count()}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _clips(runner: Runner, batch: int) -> np.ndarray:
    shape = runner.blank(batch).shape
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def latency_of(times: list[float], batch: int) -> Latency:
    """Of calls that took so many seconds each, of ``batch`` clips."""
    return Latency(1000 * statistics.median(times), 1000 * float(np.quantile(times, 0.9)), batch)


def _times(call: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of calls that take about ``seconds`` together; the first ones do not count."""
    for _ in range(_WARM_UP):
        call()
    times: list[float] = []
    while not times or (sum(times) < seconds and len(times) < 10_000):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times
