"""The one exception type that means "the user can fix this"."""

import reprlib


class InputError(ValueError):
    """Something that was given to mutualvideo is wrong: a file, a key or a value.

    The message is one line that names it and says what to do. Command-line tools
    print it without a traceback and exit with code 2; everything else that escapes
    is a bug of ours and keeps its traceback.
    """


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlevel = 2


def shown(value: object) -> str:
    """``repr(value)`` for a message, of bounded length: the value may come from any file."""
    try:
        return _SHORT.repr(value)
    except (ValueError, RecursionError):  # an int of thousands of digits, or nested deeply
        return f"a large {type(value).__name__}"


# What the tools' user does about a sub-network that has no statistics of its own.
CALIBRATE_BY_TOOLS = "add it to the TABLE keys and run `mutualvideo evaluate`"
