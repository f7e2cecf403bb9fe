"""Two things measured in one run."""

import statistics
import time

from tqdm import tqdm


def side_by_side(ours, theirs, repeats, name=""):
    """Medians of two functions, called in turns so that a busy machine slows both.

    One call of each comes first and does not count.
    """
    times = {ours: [], theirs: []}
    for turn in tqdm(range(repeats + 1), name, disable=None, leave=False):
        for function in (ours, theirs):
            start = time.perf_counter()
            function()
            if turn:
                times[function].append(1000 * (time.perf_counter() - start))
    a, b = (statistics.median(times[function]) for function in (ours, theirs))
    return {"ratio": round(a / b, 4), "ours_ms": round(a, 3), "theirs_ms": round(b, 3)}
