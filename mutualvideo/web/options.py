"""The arguments of ``tools/demo.py`` that are about the page."""

from __future__ import annotations

import argparse
import os
import threading

from mutualvideo.config import takes_pictures
from mutualvideo.errors import InputError
from mutualvideo.extras import install_command
from mutualvideo.runtime.recognizer import AdaptiveRecognizer
from mutualvideo.web.samples import samples_in, samples_of_run
from mutualvideo.web.upload import Limits


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds them to an ``argparse`` parser."""
    add = parser.add_argument_group("web page (--web)").add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    add("--port", type=int, default=7860)
    add("--samples", metavar="DIR", help="videos to choose from (default: some of the run's)")
    add("--max-mb", type=float, default=Limits.megabytes, help="largest upload, megabytes")
    add("--max-seconds", type=float, default=Limits.seconds, help="longest upload")


def serve_page(
    recognizer: AdaptiveRecognizer, args: argparse.Namespace, stop: threading.Event | None = None
) -> None:
    """Serves the page that the parsed arguments ask for, until ``stop`` is set.

    Raises:
        InputError: if an argument is wrong or Gradio is not installed.
    """
    if takes_pictures(recognizer.cfg):
        raise InputError("--web shows video, this network takes pictures: use --image")
    limits = Limits(megabytes=args.max_mb, seconds=args.max_seconds)
    if not 0 < args.port < 2**16:
        raise InputError(f"--port {args.port}: must be from 1 to 65535")
    if args.samples:
        samples = samples_in(args.samples)
    else:
        samples = samples_of_run(recognizer.cfg, recognizer.class_names)
    # Read while Gradio is imported.
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_RUN_HISTORY", "GRADIO_SHARE"):
        os.environ[name] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        from mutualvideo.web.app import serve
    except ModuleNotFoundError as error:
        raise InputError(f"the web page needs {error.name}: {install_command('web')}") from None
    serve(
        recognizer,
        samples,
        limits,
        args.host,
        args.port,
        stop,
        ready=lambda address: print(f"{address} (^C ends)", flush=True),
    )
