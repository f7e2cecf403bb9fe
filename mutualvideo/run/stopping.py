"""Ending a run early, after the same step in every process."""

import time


class Stop:
    """Why a run should end, if it should.

    Processes move in step: none finishes a step before all have begun its all-reduce. So a
    process that wants to stop after step n announces n + 1 before it begins that, and all have
    seen it when they have finished it.

    Args:
        context: this process.
        event: ``threading.Event``, set by a signal.
        limit_s: seconds from now; 0: none.
        first_step: where the run begins, the same in all processes.
        clock: for the tests.
    """

    def __init__(self, context, event, limit_s=0.0, first_step=0, clock=time.monotonic):
        self._store, self._event, self._clock = context.store, event, clock
        self._end_s = clock() + limit_s if limit_s else None
        # Not that of a run before, in the same processes.
        self._key = f"mutualvideo: stop what began at step {first_step}"
        self._announced = False

    def after(self, step):
        """Called by every process after each step: why to stop now, or ``None``."""
        reason = None
        if self._event.is_set():
            reason = "asked to by a signal"
        elif self._end_s is not None and self._clock() >= self._end_s:
            reason = "TRAIN.TIME_LIMIT is over"
        if self._store is None:
            return reason
        if reason is not None and not self._announced:
            self._store.compare_set(self._key, "", f"{step + 1} {reason}")
            self._announced = True
        if not self._store.check([self._key]):
            return None
        last, _, reason = self._store.get(self._key).decode().partition(" ")
        return reason if step >= int(last) else None
