"""What the page's events do, without a browser."""

import shutil
import socket

import pytest

from mutualvideo.errors import InputError
from mutualvideo.web.options import serve_page
from mutualvideo.web.session import Visitor
from mutualvideo.web.upload import Limits

gr = pytest.importorskip("gradio", reason="gradio is not installed")

from mutualvideo.web.app import Page, build_page, serve  # noqa: E402


@pytest.fixture
def page(recognizer, good_path):
    return Page(recognizer, {"good": good_path, "gone": "/nowhere.mp4"}, Limits())


def panes(result):
    """``(problem, the other panes or None for those left alone)``."""
    problem, *others = result
    return problem.value, [
        None if "value" not in pane and not isinstance(pane, str) else pane for pane in others
    ]


def test_opens_with_the_first_sample(page):
    problem, others = panes(page.open(Visitor(), "macs", 100))
    assert not problem and "1x6x40" in others[2]
    assert all(others)


def test_without_samples_nothing_is_shown(recognizer):
    problem, others = panes(Page(recognizer, {}, Limits()).open(Visitor(), "macs", 100))
    assert not problem and not any(others)


def test_moving_keeps_the_film(page):
    visitor = Visitor()
    page.open(visitor, "macs", 100)
    problem, (film, *others) = panes(page.move(visitor, "fps", 100))
    assert not problem and film is None
    assert "0.5x3x32" in others[1] and "at least" in others[1]


@pytest.mark.parametrize("asked", [True, False, "true", 1, None])
def test_where_the_answer_was_seen(page, asked):
    pytest.importorskip("captum", reason="captum is not installed")
    visitor = Visitor()
    page.open(visitor, "macs", 100, False)
    _, plain = panes(page.move(visitor, "macs", 100, False))
    problem, others = panes(page.move(visitor, "macs", 100, asked))
    # Other pictures in the strip, and nothing else but the time that it took.
    assert not problem and ("what spoke for" in others[1]) == (asked is True)
    assert (others[1] != plain[1]) == (asked is True)


def test_without_captum_the_page_does_without(recognizer, good_path, monkeypatch):
    def refuse():
        raise InputError("captum cannot be imported")

    monkeypatch.setattr("mutualvideo.runtime.explainer.require_captum", refuse)
    page = Page(recognizer, {"good": good_path}, Limits())
    boxes = [one for one in build_page(page).config["components"] if one["type"] == "checkbox"]
    assert [box["props"]["visible"] for box in boxes] == [False]
    problem, others = panes(page.open(Visitor(), "macs", 100, True))
    assert not problem and "what spoke for" not in others[1]


@pytest.mark.parametrize(
    ("unit", "position"), [("macs", "7"), ("macs", -1), ("parsecs", 5), (None, 5), ([], 5)]
)
def test_forged_positions_and_units(page, unit, position):
    visitor = Visitor()
    page.open(visitor, "macs", 100)
    problem, others = panes(page.move(visitor, unit, position))
    assert problem and not any(others)


@pytest.mark.parametrize("name", ["gone", "../good", "/etc/passwd", None, ["good"]])
def test_samples_are_chosen_by_name_alone(page, name):
    visitor = Visitor()
    problem, others = panes(page.choose(visitor, name, "macs", 50))
    assert problem and not any(others) and visitor.clip is None


def test_an_upload_is_deleted(page, good_path, tmp_path):
    uploaded, visitor = tmp_path / "clip.mp4", Visitor()
    shutil.copy(good_path, uploaded)
    problem, others = panes(page.upload(visitor, str(uploaded), "macs", 0))
    assert not problem and "clip.mp4" in others[0]
    assert not uploaded.exists()


def test_a_bad_upload_leaves_the_page_as_it_was(page, tmp_path):
    uploaded, visitor = tmp_path / "<b>bad.mp4", Visitor()
    page.open(visitor, "macs", 0)
    before = visitor.clip
    uploaded.write_text("no video")
    problem, others = panes(page.upload(visitor, str(uploaded), "macs", 0))
    assert "&lt;b&gt;bad.mp4: cannot be opened" in problem and not any(others)
    assert visitor.clip is before and not uploaded.exists()
    assert panes(page.upload(visitor, None, "macs", 0))[0]


def test_nothing_can_be_called_by_programs(page):
    for event in build_page(page).config["dependencies"]:
        assert event["api_visibility"] == "private"


def test_a_port_in_use(recognizer):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--port {port}: .*in use.*; choose another"):
            serve(recognizer, {}, Limits(), port=port)
    with pytest.raises(InputError, match="--host no.such.host --port 7860: cannot be listened on"):
        serve(recognizer, {}, Limits(), host="no.such.host")


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_bad_ports(recognizer, port):
    class Arguments:
        max_mb, max_seconds = 50, 60

    Arguments.port = port
    with pytest.raises(InputError, match="--port"):
        serve_page(recognizer, Arguments)
