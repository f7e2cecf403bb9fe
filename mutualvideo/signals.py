"""Being asked to stop."""

import signal
import threading
from contextlib import contextmanager


@contextmanager
def stop_on_signals():
    """Yields a ``threading.Event`` that ^C or SIGTERM sets; a second one interrupts as usual.

    What is in the making is thus brought to its end instead of being lost. Outside the main
    thread, where Python takes no signals, nothing ever sets it. Its ``number`` is the signal's.
    """
    stop, before = threading.Event(), _handlers()

    def handle(number, frame):
        stop.number = number
        stop.set()
        signal.signal(number, before[number])

    try:
        for number in before:
            signal.signal(number, handle)
        yield stop
    finally:
        _restore(before)


class Interrupted(BaseException):
    """^C or SIGTERM came where nothing is in the making that must be brought to its end."""


@contextmanager
def end_on_signals():
    """^C or SIGTERM raise :class:`Interrupted` in the block, so that what is open is closed.

    A second one interrupts as usual. What stops by itself takes them first (see above).
    """
    before = _handlers()

    def handle(number, frame):
        _restore(before)
        raise Interrupted

    try:
        for number in before:
            signal.signal(number, handle)
        yield
    finally:
        _restore(before)


def _handlers():
    """``{signal: its handler}`` of the two; empty outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = (signal.SIGINT, signal.SIGTERM)
    # None: set by a library in C, which Python cannot set again.
    return {number: signal.getsignal(number) or signal.SIG_DFL for number in numbers}


def _restore(handlers):
    for number, handler in handlers.items():
        signal.signal(number, handler)
