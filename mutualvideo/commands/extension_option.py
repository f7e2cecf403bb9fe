"""The option of tools that open checkpoints, which load no extension by themselves."""

import argparse
from typing import Any

from mutualvideo.extensions import load_extensions


def add_extension(parser: argparse.ArgumentParser) -> None:
    """Gives a tool ``--extension``, whose files and modules are imported as it is read."""
    parser.add_argument(
        "--extension",
        action=_LoadExtension,
        metavar="FILE",
        help="Python file or module that adds networks or backends; may be given again",
    )


class _LoadExtension(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        load_extensions([values], option_string or self.dest)
