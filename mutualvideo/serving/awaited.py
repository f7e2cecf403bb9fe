"""What threads that submit and the one that answers say to each other."""

import threading

# The longest wait before looking again.
_LOOK_S = 0.1


class Awaited:
    """Something to answer may have come."""

    def __init__(self) -> None:
        self._changed = threading.Event()

    def wake(self) -> None:
        """Ends a :meth:`wait`; called by any thread, after something has come."""
        self._changed.set()

    def look(self) -> None:
        """Called before looking for what has come: what comes later ends the next wait."""
        self._changed.clear()

    def wait(self) -> None:
        """Waits until something has come, for a tenth of a second at most."""
        self._changed.wait(_LOOK_S)
