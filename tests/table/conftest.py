import random

import pytest

from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable, Row


@pytest.fixture
def random_table():
    """A table of random costs and accuracies, coarse enough for many ties."""

    def make(seed, accuracy=True, latency=True):
        draw = random.Random(seed)
        rows = [
            Row(
                Subnet(width, frames, size),
                macs=draw.randint(1, 12) * 100,
                params=draw.randint(1, 9),
                top1=draw.randint(1, 8) * 10.0 if accuracy else None,
                top5=99.0 if accuracy else None,
                latency_ms=draw.randint(1, 12) * 1.5 if latency else None,
            )
            for width in (0.5, 0.75, 1.0)
            for frames in (8, 16)
            for size in (112, 160)
        ]
        draw.shuffle(rows)
        return QueryTable(rows, {"model": "X", "classes": ["a", "b"]})

    return make
