"""Lengths of time as people read them."""


def clock_time(seconds: float) -> str:
    """``0:04:32``; from an hour on ``1 h 05 min``, from four days on ``4 d 06 h``."""
    seconds = round(seconds)
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"0:{minutes:02}:{rest:02}"
    # The seconds that are not shown are rounded, not cut off.
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 96:
        return f"{hours} h {minutes:02} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours:02} h"
