"""Which frames of a clip are taken. Pure Python: the runtime asks without importing torch."""


def frame_indices(available, wanted):
    """``wanted`` evenly spaced positions in ``range(available)``, first and last included.

    The same positions as ``linspace(0, available - 1, wanted)`` rounded down, which is how
    PySlowFast takes the Slow pathway's frames, in exact arithmetic. One frame is the middle.
    """
    if wanted == 1:
        return [(available - 1) // 2]
    return [i * (available - 1) // (wanted - 1) for i in range(wanted)]
