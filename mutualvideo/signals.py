"""Being asked to stop."""

import signal
import threading
from contextlib import contextmanager


@contextmanager
def stop_on_signals():
    """Yields a ``threading.Event`` that ^C or SIGTERM sets; a second one interrupts as usual.

    What is in the making is thus brought to its end instead of being lost. Outside the main
    thread, where Python takes no signals, nothing ever sets it.
    """
    stop, before = threading.Event(), {}

    def handle(number, frame):
        stop.set()
        signal.signal(number, before[number])

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Interrupted(BaseException):
    """^C or SIGTERM came where nothing is in the making that must be brought to its end."""


@contextmanager
def end_on_signals():
    """^C or SIGTERM raise :class:`Interrupted` in the block, so that what is open is closed.

    A second one interrupts as usual. What stops by itself takes them first (see above).
    """
    before = {}

    def handle(number, frame):
        for number, handler in before.items():
            signal.signal(number, handler)
        raise Interrupted

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
