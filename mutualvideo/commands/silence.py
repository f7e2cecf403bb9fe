"""What libraries print while they are measured, kept off the terminal."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout


@contextmanager
def quietly() -> Iterator[None]:
    """Nothing that the block writes to standard output or error is seen, unless it raises.

    Of this process and those that it starts: the descriptors are redirected too. What was written
    is shown on standard error before the exception goes on.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said:
        try:
            with ExitStack() as stack:
                for number in (1, 2):
                    stack.callback(_put_back, os.dup(number), number)
                    os.dup2(said.fileno(), number)
                text = stack.enter_context(open(os.dup(said.fileno()), "w", buffering=1))
                stack.enter_context(redirect_stdout(text))
                stack.enter_context(redirect_stderr(text))
                yield
        except BaseException:
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace"))
            raise


def _put_back(kept: int, number: int) -> None:
    os.dup2(kept, number)
    os.close(kept)
