"""The one exception type that means "the user can fix this"."""


class InputError(ValueError):
    """Something that was given to mutualvideo is wrong: a file, a key or a value.

    The message is one line that names it and says what to do. Command-line tools
    print it without a traceback and exit with code 2; everything else that escapes
    is a bug of ours and keeps its traceback.
    """
