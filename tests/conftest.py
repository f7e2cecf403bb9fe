"""What every test relies on."""

import signal

import pytest


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """^C interrupts this process and those that it starts, as in a terminal.

    A shell starts what a script runs in the background (``pytest &``, ``nohup``) with SIGINT
    ignored, which Python and the processes that tests interrupt would inherit.
    """
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
