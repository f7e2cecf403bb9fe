"""The page itself: Gradio's components, what happens when they are used, the server."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from mutualvideo.errors import InputError
from mutualvideo.files import StrPath
from mutualvideo.runtime import PreparationError
from mutualvideo.runtime.explainer import Explainer
from mutualvideo.runtime.recognizer import AdaptiveRecognizer
from mutualvideo.web import panels
from mutualvideo.web.headers import SafeHeaders
from mutualvideo.web.session import UNITS, Visitor, answer, scales
from mutualvideo.web.upload import Limits, display_name, read_clip

_START = 50
# How many processes decode films at once, how many threads answer, and how many events may wait.
_DECODERS, _ANSWERS, _WAITING = 2, 4, 64
# Clips are kept in memory for this many tabs, for this many seconds after their last use.
_TABS, _IDLE_S = 64, 3600
_CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


class Page:
    """The handlers of the page's events, apart from Gradio's components.

    Args:
        recognizer: ``AdaptiveRecognizer``.
        samples: ``{name: path}``, may be empty.
        limits: :class:`~mutualvideo.web.upload.Limits` of a clip.
    """

    def __init__(
        self, recognizer: AdaptiveRecognizer, samples: Mapping[str, StrPath], limits: Limits
    ) -> None:
        self.recognizer, self.samples, self.limits = recognizer, samples, limits
        self.scales = scales(recognizer.table)
        # There is none without captum, nor of exported files; the page does without.
        self.explainer: Explainer | None = None
        with contextlib.suppress(InputError):
            self.explainer = Explainer(recognizer)

    def open(self, visitor: Visitor, *control: Any) -> list[Any]:
        """What a new tab shows: the first sample, if there is one.

        Args:
            visitor: whose tab it is.
            control: unit and position of the slider, and whether maps are wanted; as in all below.
        """
        if not self.samples:
            return self._problem("")
        return self.choose(visitor, next(iter(self.samples)), *control)

    def choose(self, visitor: Visitor, name: Any, *control: Any) -> list[Any]:
        """Takes a sample by name."""
        # Gradio checks values against the choices; these are from the network all the same.
        if not isinstance(name, str) or name not in self.samples:
            return self._problem("this sample is not there; choose another one")
        return self._take(visitor, self.samples[name], name, *control)

    def upload(self, visitor: Visitor, path: Any, *control: Any) -> list[Any]:
        """Takes an uploaded file, which is deleted at once: its frames are all that is kept."""
        if not isinstance(path, str):
            return self._problem("no file has arrived; choose one")
        try:
            return self._take(visitor, path, display_name(path), *control)
        finally:
            with contextlib.suppress(OSError, ValueError):
                Path(path).unlink()

    def sample_shown(self, visitor: Visitor, name: Any) -> str | None:
        """The sample's name, if it is what the page shows: an upload takes its place."""
        return name if visitor.clip is not None and visitor.clip.name == name else None

    def move(self, visitor: Visitor, *control: Any) -> list[Any]:
        """Answers for the clip that is there, under another budget or with maps."""
        if visitor.clip is None:
            return self._problem("")
        return self._answer(visitor, *control)

    def _take(self, visitor: Visitor, path: StrPath, name: str, *control: Any) -> list[Any]:
        try:
            segments = self.recognizer.executor.segments
            visitor.clip = read_clip(path, self.recognizer.cfg.DATA, self.limits, name, segments)
        except InputError as error:
            return self._problem(error)
        return self._answer(visitor, *control, new=True)

    def _answer(
        self, visitor: Visitor, unit: Any, position: Any, explain: Any = False, new: bool = False
    ) -> list[Any]:
        recognizer = self.recognizer
        explainer = self.explainer if explain is True else None
        try:
            if not isinstance(unit, str) or unit not in self.scales:
                raise InputError("this unit is not known; reload the page")
            found = answer(recognizer, self.scales[unit], visitor, position, explainer)
        except (InputError, PreparationError) as error:
            return self._problem(error)
        return [
            gr.HTML("", visible=False),
            panels.film(found.clip) if new else gr.skip(),
            panels.strip(found, recognizer.cfg.DATA.NUM_FRAMES),
            panels.figures(found, recognizer.table),
            panels.curve(found, recognizer.table),
            panels.bars(found),
            panels.latency(found),
        ]

    def _problem(self, error: object) -> list[Any]:
        # What was answered before stays on the page.
        return [gr.HTML(panels.message(error), visible=bool(str(error))), *[gr.skip()] * 6]


def build_page(page: Page) -> gr.Blocks:
    """The components and their events.

    Args:
        page: :class:`Page`.

    Returns:
        ``gradio.Blocks``.
    """
    units = [(UNITS[unit], unit) for unit in page.scales]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": True}
    with gr.Blocks(title="mutualvideo", analytics_enabled=False, delete_cache=(600, 600)) as blocks:
        visitor = gr.State(Visitor(), time_to_live=_IDLE_S)
        gr.HTML(panels.heading(page.recognizer), elem_id="heading")
        problem = gr.HTML(visible=False, elem_id="problem")
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=300):
                names = list(page.samples)
                sample = gr.Dropdown(
                    names,
                    value=names[0] if names else None,
                    label="Sample",
                    visible=bool(names),
                    elem_id="sample",
                )
                upload = gr.UploadButton(
                    f"Upload a video (at most {page.limits.megabytes:g} MB, "
                    f"{page.limits.seconds:g} s)",
                    size="md",
                    elem_id="upload",
                )
                film = gr.HTML(elem_id="film")
                bars = gr.HTML(elem_id="answer")
                explain = gr.Checkbox(
                    False,
                    label="Show where the answer was seen",
                    visible=page.explainer is not None,
                    elem_id="explain",
                )
                strip = gr.HTML(elem_id="strip")
            with gr.Column(scale=7, min_width=440):
                with gr.Group(elem_id="control"):
                    unit = gr.Radio(
                        units,
                        value=units[0][1],
                        label="Budget",
                        container=True,
                        visible=len(units) > 1,
                        elem_id="unit",
                    )
                    slider = gr.Slider(
                        0,
                        100,
                        value=_START,
                        step=0.5,
                        label="Budget",
                        show_label=False,
                        buttons=[],
                        elem_id="slider",
                    )
                figures = gr.HTML(elem_id="figures")
                curve = gr.HTML(elem_id="curve")
                latency = gr.HTML(elem_id="latency-plot")
        panes = [problem, film, strip, figures, curve, bars, latency]
        decoding = {**quiet, "concurrency_id": "decode", "concurrency_limit": _DECODERS}
        answering = {**quiet, "concurrency_id": "answer", "concurrency_limit": _ANSWERS}
        control = [unit, slider, explain]
        blocks.load(page.open, [visitor, *control], panes, **decoding)
        sample.input(page.choose, [visitor, sample, *control], panes, **decoding)
        taken = upload.upload(page.upload, [visitor, upload, *control], panes, **decoding)
        taken.then(page.sample_shown, [visitor, sample], sample, **quiet)
        for part in control:
            part.change(
                page.move, [visitor, *control], panes, trigger_mode="always_last", **answering
            )
    return blocks.queue(max_size=_WAITING)


def serve(
    recognizer: AdaptiveRecognizer,
    samples: Mapping[str, StrPath],
    limits: Limits,
    host: str = "127.0.0.1",
    port: int = 7860,
    stop: threading.Event | None = None,
    ready: Callable[[str], object] | None = None,
) -> None:
    """Serves the page until ``stop`` is set.

    No share link, no analytics, nothing from other hosts. What is uploaded lies in a folder
    that is deleted at the end.

    Args:
        recognizer, samples, limits: as for :class:`Page`.
        host: address to listen on.
        port: TCP port.
        stop: ``threading.Event``; ``None``: for ever.
        ready: called with the page's address once it answers.

    Raises:
        InputError: if the port cannot be listened on.
    """
    _try_port(host, port)
    with _upload_folder():
        blocks = build_page(Page(recognizer, samples, limits))
        try:
            _, address, _ = blocks.launch(
                server_name=host,
                server_port=port,
                share=False,
                quiet=True,
                prevent_thread_lock=True,
                inbrowser=False,
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                enable_monitoring=False,
                footer_links=[],
                max_file_size=round(limits.megabytes * 1e6),
                state_session_capacity=_TABS,
                theme=_theme(),
                css=_CSS,
                app_kwargs={"middleware": [Middleware(SafeHeaders)]},
            )
        except OSError as error:
            raise InputError(f"--host {host} --port {port}: {error}") from None
        try:
            if ready is not None:
                ready(address)
            (stop or threading.Event()).wait()
        finally:
            blocks.close(verbose=False)


def _try_port(host: str, port: int) -> None:
    # Gradio would tell of its own settings.
    try:
        kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(kind) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(address)
            server.listen()
    except OSError as error:
        raise InputError(
            f"--host {host} --port {port}: cannot be listened on ({error.strerror}); choose "
            "another, or end what listens there"
        ) from None


@contextlib.contextmanager
def _upload_folder() -> Iterator[None]:
    """What Gradio writes goes into a folder of its own, deleted at the end."""
    before = os.environ.get("GRADIO_TEMP_DIR")
    with tempfile.TemporaryDirectory(prefix="mutualvideo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        try:
            yield
        finally:
            del os.environ["GRADIO_TEMP_DIR"]
            if before is not None:
                os.environ["GRADIO_TEMP_DIR"] = before


def _theme() -> Any:
    # The system's own letters: others would come from elsewhere.
    return gr.themes.Default(
        primary_hue="blue",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
