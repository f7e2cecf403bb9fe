"""A table whose rows are four times as dear from one to the next. Imports no torch."""

from mutualvideo.subnet import Subnet
from mutualvideo.table.query import Row

A, B, C, D = (Subnet(width, 2, 8) for width in (0.25, 0.5, 0.75, 1.0))
ROWS = [
    Row(subnet, macs, 1, top1, 100.0, ms)
    for subnet, macs, top1, ms in (
        (A, 10, 50.0, 1.0),
        (B, 40, 60.0, 4.0),
        (C, 160, 70.0, 16.0),
        (D, 640, 80.0, 64.0),
    )
]
