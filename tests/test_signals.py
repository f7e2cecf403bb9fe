import signal
import threading

import pytest

from mutualvideo.signals import end_on_signals, stop_on_signals


def test_the_first_signal_stops_and_the_second_interrupts():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stop_on_signals() as stop:
        assert not stop.is_set()
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_nothing_is_changed():
    before, found = signal.getsignal(signal.SIGTERM), []

    def look():
        with stop_on_signals() as stop:
            found.extend([stop.is_set(), signal.getsignal(signal.SIGTERM)])

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [False, before]


@pytest.mark.parametrize("context", [stop_on_signals, end_on_signals])
def test_a_handler_that_python_cannot_give_back(context, monkeypatch):
    """Of one that a library in C has set it knows nothing; signal.signal() does not take None."""
    before, get = signal.getsignal(signal.SIGTERM), signal.getsignal
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    try:
        with context():
            pass
        assert get(signal.SIGTERM) is signal.SIG_DFL
    finally:
        monkeypatch.undo()
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_signal_while_handlers_are_being_set(monkeypatch):
    kept, mine = signal.signal, []

    def early(number, handler):
        found = kept(number, handler)
        if not mine:
            mine.append(number)
            signal.raise_signal(number)
        return found

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(signal, "signal", early)
    with stop_on_signals() as stop:
        assert stop.is_set()
    assert signal.getsignal(signal.SIGINT) is before
