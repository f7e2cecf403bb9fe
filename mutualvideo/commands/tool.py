"""What the command-line tools have in common."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

from mutualvideo.errors import InputError
from mutualvideo.extensions import load_extensions


def run_tool(main: Callable[[], Any]) -> None:
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


def add_extension(parser: argparse.ArgumentParser) -> None:
    """Gives a tool ``--extension``, for checkpoints of networks from outside of the package."""
    parser.add_argument(
        "--extension",
        action=_LoadExtension,
        metavar="FILE",
        help="Python file or module that adds networks or backends; may be given again",
    )


class _LoadExtension(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        load_extensions([values], option_string)
