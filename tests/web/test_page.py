"""The page in a real browser: Chromium without a window, driven by Playwright."""

import io
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.videos import encode

pytestmark = pytest.mark.slow
pytest.importorskip("gradio", reason="gradio is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ROOT = Path(__file__).resolve().parents[2]
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
NASTY = "<img src=x onerror=alert(1)>.mp4"


@pytest.fixture(scope="module")
def address(run_dir, good_path, tmp_path_factory):
    """The tool itself, serving on a port of its own until the tests are over."""
    if BROWSER is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    samples = tmp_path_factory.mktemp("samples")
    shutil.copy(good_path, samples / "first.mp4")
    shutil.copy(good_path, samples / NASTY)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, ROOT / "tools/demo.py", "--web", "--run", run_dir, "--port", port]
    command += ["--samples", samples, "--max-mb", "0.2", "--max-seconds", "5", "--device", "cpu"]
    scratch = tmp_path_factory.mktemp("scratch")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(scratch),
    }
    with subprocess.Popen(
        list(map(str, command)), env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            line = server.stdout.readline()
            assert f"http://127.0.0.1:{port}/" in line
            yield line.split()[0]
        finally:
            server.terminate()
        # Lived until it was told to end, and then did.
        assert server.wait(timeout=60) == 0
    # Nothing of what was uploaded is left.
    assert not [path for path in scratch.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def browser(address):
    with playwright.sync_playwright() as driver:
        # Containers are often root's, where Chromium's own sandbox does not start.
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """A fresh tab that has answered; whatever it asks other hosts for is noted."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.elsewhere, page.alerts = [], []
    page.on("request", lambda request: note(page.elsewhere, request.url, address))
    page.on("dialog", lambda dialog: (page.alerts.append(dialog.message), dialog.dismiss()))
    page.goto(address)
    page.wait_for_selector("#subnet", timeout=60_000)
    yield page
    assert not page.elsewhere and not page.alerts
    page.close()


def note(found, url, address):
    if not url.startswith((address, "data:", "blob:")):
        found.append(url)


def shows(page, selector, text):
    playwright.expect(page.locator(selector)).to_contain_text(text, timeout=30_000)


def upload(page, path):
    page.set_input_files("#upload input[type=file], input[type=file]", str(path))


def move(page, key):
    page.locator("#slider input[type=range]").press(key)


def test_upload_move_and_look(page, tmp_path):
    upload(page, encode(tmp_path / "mine.mp4", range(0, 90, 3)))
    shows(page, "#film", "mine.mp4")
    curves = []
    for key, subnet in (("End", "1x6x40"), ("Home", "0.5x3x32")):
        move(page, key)
        shows(page, "#subnet", subnet)
        shows(page, "#strip", "6 frames of 40" if subnet == "1x6x40" else "3 frames of 32")
        curves.append(page.locator("#curve img").get_attribute("src"))
    assert curves[0] != curves[1]
    assert page.locator("#answer li").count() == 3
    content = page.screenshot(path=tmp_path / "page.png", full_page=True)
    picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert picture.shape[1] == 1200 and picture.shape[0] > 700
    # Light, and neither blank nor a line of text: film, curve, bars.
    assert np.median(picture) > 240
    assert 0.03 < (picture.min(2) < 200).mean() < 0.5
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 500


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_and_dark(browser, address, tmp_path, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.goto(address)
    page.wait_for_selector("#subnet", timeout=60_000)
    # Nothing stands out at the side; cards wrap instead of shrinking.
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width
    boxes = [card.bounding_box() for card in page.locator(".tiles > div").all()]
    assert len(boxes) == 4 and all(0 <= b["x"] and b["x"] + b["width"] <= width for b in boxes)
    assert len({round(b["y"]) for b in boxes}) == (2 if width == 390 else 1)
    for text in page.locator(".tiles b").all():
        assert text.evaluate("one => one.scrollWidth <= one.clientWidth")
    # A screen reader names the slider.
    assert page.get_by_role("slider", name="Budget").count() == 1
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red, green, blue = map(int, re.findall(r"\d+", ground)[:3])
    assert (red + green + blue > 3 * 128) == (scheme == "light")
    page.close()


def test_the_list_of_samples_does_not_name_what_is_gone(page, tmp_path):
    name = page.locator("#sample input")
    playwright.expect(name).to_have_value(NASTY)
    upload(page, encode(tmp_path / "mine.mp4", range(0, 90, 3)))
    shows(page, "#film", "mine.mp4")
    playwright.expect(name).to_have_value("")
    name.click()
    page.get_by_role("option", name=NASTY).click()
    shows(page, "#film", NASTY)


def test_where_the_answer_was_seen(page):
    move(page, "End")
    shows(page, "#strip", "6 frames of 40")
    plain = page.locator("#strip img").get_attribute("src")
    page.get_by_label("Show where the answer was seen").check()
    shows(page, "#strip", "bright is what spoke for")
    assert page.locator("#strip img").get_attribute("src") != plain


def test_other_units(page):
    page.get_by_text("clips per second").click()
    move(page, "End")
    shows(page, "#budget", "at least 500.0 clips per second")
    shows(page, "#subnet", "0.5x3x32")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("bad.mp4", b"not a video", "bad.mp4: cannot be opened as a video"),
        (NASTY, b"not a video", "cannot be opened as a video"),
        ("long.mp4", range(0, 90 * 10, 90), "s, at most 5 s are taken"),
    ],
    ids=["text", "HTML in the name", "too long"],
)
def test_bad_files_get_a_message_and_the_server_lives_on(page, tmp_path, name, content, words):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        encode(path, content)
    upload(page, path)
    shows(page, "[role=alert]", words)
    upload(page, encode(tmp_path / "good.mp4", range(0, 90, 3)))
    shows(page, "#film", "good.mp4")
    playwright.expect(page.locator("[role=alert]")).to_have_count(0)


def test_too_large_a_file_is_refused(page, tmp_path):
    (tmp_path / "large.mp4").write_bytes(bytes(300_000))
    upload(page, tmp_path / "large.mp4")
    shows(page, "body", "maximum")
    shows(page, "#subnet", "x")


def test_a_sample_with_html_in_its_name(page):
    page.locator("#sample input").click()
    page.get_by_role("option", name=NASTY).click()
    shows(page, "#film", NASTY)


def test_two_visitors_have_budgets_of_their_own(page, browser, address):
    other = browser.new_page()
    other.goto(address)
    other.wait_for_selector("#subnet", timeout=60_000)
    move(page, "End")
    move(other, "Home")
    for tab, subnet in ((page, "1x6x40"), (other, "0.5x3x32")):
        shows(tab, "#subnet", subnet)
    # One step down is a row that was never calibrated: its error is this visitor's alone.
    move(page, "ArrowLeft")
    shows(page, "[role=alert]", "was never calibrated")
    shows(other, "#subnet", "0.5x3x32")
    playwright.expect(other.locator("[role=alert]")).to_have_count(0)
    other.close()
