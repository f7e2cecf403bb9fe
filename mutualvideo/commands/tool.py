"""What the command-line tools have in common."""

import sys

from mutualvideo.errors import InputError


def run_tool(main):
    """Runs ``main()`` and exits: 2 with one line on standard error for bad input, 130 on ^C.

    Any other exception is a bug and keeps its traceback.
    """
    try:
        sys.exit(main())
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
