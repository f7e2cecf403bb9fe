"""The page's parts: what they show, and that text stays text."""

import base64
import io
import re
import threading
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from mutualvideo.budget import Budget
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable
from mutualvideo.web import panels, svg_plots
from mutualvideo.web.session import Scale, Visitor, answer, in_words

NASTY = "<img src=x onerror=alert(1)>\"'&{{value}}${alert(2)}`"


@pytest.fixture(scope="module")
def found(recognizer, clip):
    return answer(recognizer, Scale(recognizer.table, "macs"), Visitor(clip), 100)


class Reader(HTMLParser):
    """Tags and text as a browser sees them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def image(html):
    content = re.search(r'src="data:image/[a-z+]+;base64,([^"]+)"', html)[1]
    return base64.b64decode(content)


def test_text_stays_text(recognizer, found):
    clip = replace(found.clip, name=NASTY)
    names = (NASTY,) * 3
    hostile = replace(found, clip=clip, prediction=replace(found.prediction, class_names=names))
    for html in (panels.film(clip), panels.bars(hostile), panels.message(NASTY)):
        seen = Reader(html)
        assert NASTY in seen.text
        assert {tag for tag, _ in seen.tags} <= {
            "img",
            "p",
            "b",
            "h2",
            "ol",
            "li",
            "span",
            "em",
            "u",
            "div",
        }
        assert not any(name.startswith("on") for _, found in seen.tags for name in found)
        # Nothing for Gradio's templates either.
        assert not re.search(r"[${}`]", html)


def test_bars_are_the_five_best(found):
    scores = np.array([[0.1, 0.05, 0.3, 0.02, 0.2, 0.33]], np.float32)
    prediction = replace(found.prediction, scores=scores, class_names=tuple("abcdef"))
    seen = Reader(panels.bars(replace(found, prediction=prediction)))
    assert seen.text == "Answer" + "f33.0 %" + "c30.0 %" + "e20.0 %" + "a10.0 %" + "b5.0 %"


def test_film_shows_every_frame(clip):
    moving = Image.open(io.BytesIO(image(panels.film(clip))))
    assert (moving.n_frames, moving.size) == (len(clip.pictures), (64, 48))
    moving.seek(5)
    assert np.abs(np.asarray(moving.convert("RGB")).astype(int) - clip.pictures[5]).mean() < 12


def test_strip_is_what_the_network_sees(found):
    row = replace(found.row, subnet=Subnet(0.5, 3, 20))
    sheet = Image.open(io.BytesIO(image(panels.strip(replace(found, row=row), 6))))
    assert sheet.size == (3 * 20 + 2, 20)
    # 3 of 6 frames: 0, 2 and 5; a half-sized average is the reference.
    for place, index in enumerate((0, 2, 5)):
        shown = np.asarray(sheet)[:, 21 * place : 21 * place + 20].astype(float)
        halved = found.clip.frames[index].reshape(20, 2, 20, 2, 3).mean((1, 3))
        assert np.abs(shown - halved).mean() < 6


def test_figures(recognizer, found):
    text = Reader(panels.figures(found, recognizer.table)).text
    for part in ("1x6x40", "90.0 %", "table: 4.0 ms", "100 % of", in_words(found.budget)):
        assert part in text


@pytest.mark.parametrize(
    "budget", [Budget("macs", 10**6), Budget("ms", 3.0), Budget("fps", 300.0)], ids=str
)
def test_curve_is_svg_with_the_chosen_point(recognizer, budget):
    first, last = recognizer.table.rows[0], recognizer.table.rows[2]
    one, other = (svg_plots.curve(recognizer.table, row, budget) for row in (first, last))
    assert ElementTree.fromstring(one).tag.endswith("svg")
    assert one != other
    # The names that are drawn stand in the SVG as comments.
    assert b"<!-- 0.5x3x32 -->" in one and b"<!-- 1x6x40 -->" in other


def test_no_curve_without_accuracies(recognizer, found):
    rows = [replace(row, top1=None, top5=None) for row in recognizer.table]
    assert "no accuracies" in panels.curve(found, QueryTable(rows))
    assert "–" in panels.figures(replace(found, row=rows[0]), QueryTable(rows))


def test_curve_of_one_row(recognizer):
    row = recognizer.table.rows[0]
    assert svg_plots.curve(QueryTable([row]), row, Budget("macs", row.macs)).startswith(b"<?xml")


def test_many_threads_draw(recognizer, found):
    drawn, threads = [], []
    for _ in range(4):
        threads.append(
            threading.Thread(target=lambda: drawn.append(svg_plots.latency(found.history * 3)))
        )
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert len(drawn) == 4 and all(ElementTree.fromstring(svg) is not None for svg in drawn)
