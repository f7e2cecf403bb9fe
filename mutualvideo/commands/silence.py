"""What libraries print while they are measured, kept off the terminal."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO


@contextmanager
def quietly() -> Iterator[TextIO]:
    """Nothing that the block writes to standard output or error is seen, unless it raises.

    Of this process and those that it starts: the descriptors are redirected too. What was written
    is shown on standard error before the exception goes on.

    Yields a text stream that still reaches the standard output of before, for what is to be seen.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said:
        try:
            with ExitStack() as stack:
                aloud = stack.enter_context(_aloud())
                for number in (1, 2):
                    stack.callback(_put_back, os.dup(number), number)
                    os.dup2(said.fileno(), number)
                text = stack.enter_context(open(os.dup(said.fileno()), "w", buffering=1))
                stack.enter_context(redirect_stdout(text))
                stack.enter_context(redirect_stderr(text))
                yield aloud
        except BaseException:
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace"))
            raise


@contextmanager
def _aloud() -> Iterator[TextIO]:
    """Standard output, on a descriptor of its own if its own is about to be redirected."""
    try:
        redirected = sys.stdout.fileno() == 1
    except (AttributeError, OSError):  # it has no descriptor: notebooks, tests
        redirected = False
    if not redirected:
        yield sys.stdout
        return
    with open(os.dup(1), "w", buffering=1, encoding=sys.stdout.encoding) as stream:
        yield stream


def _put_back(kept: int, number: int) -> None:
    os.dup2(kept, number)
    os.close(kept)
