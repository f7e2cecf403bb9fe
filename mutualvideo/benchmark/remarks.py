"""What a measurement says beside its figures: what they depend on, what is left out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_streams: list[TextIO] = []


def remark(text: str) -> None:
    """Prints a line, at once: to standard output, or where :func:`remarks_to` says."""
    print(text, file=_streams[-1] if _streams else None, flush=True)


@contextmanager
def remarks_to(stream: TextIO) -> Iterator[None]:
    """Remarks within the block go to ``stream``, for standard output may be silenced."""
    _streams.append(stream)
    try:
        yield
    finally:
        _streams.pop()
