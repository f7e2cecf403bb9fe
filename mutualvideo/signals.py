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
