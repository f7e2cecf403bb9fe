"""A web page to try a trained network in the browser: upload a video, move the budget.

mutualvideo serve --run output/toy
mutualvideo serve --run output/toy/deploy --port 8080 --samples videos

^C ends it. It listens on this machine alone unless --host says otherwise.
"""

from __future__ import annotations

import argparse

from mutualvideo.commands.run_options import add_run, open_recognizer
from mutualvideo.web.options import add_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_options(parser)


def run(args: argparse.Namespace) -> None:
    from mutualvideo.signals import stop_on_signals
    from mutualvideo.web.options import serve_page

    recognizer = open_recognizer(args)
    with stop_on_signals() as stop:
        serve_page(recognizer, args, stop)
