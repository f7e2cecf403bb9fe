"""Downloads from a server that breaks off, against the bytes that it has."""

import http.server
import re
import threading

import numpy as np
import pytest

from mutualvideo.models.weights.download import cached_path, download

CONTENT = np.random.default_rng(0).bytes(600_000)
OTHER = np.random.default_rng(1).bytes(500_000)


class Breaking(http.server.BaseHTTPRequestHandler):
    """Sends a file, at most ``limit`` bytes a connection; knows ranges (RFC 9110, 14)."""

    content, tag, limit, ranges = CONTENT, '"one"', None, True

    def do_GET(self):
        cls = type(self)
        cls.asked.append(self.headers.get("Range"))
        begin, wanted = 0, re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if cls.ranges and wanted and self.headers.get("If-Range") == cls.tag:
            begin = int(wanted[1])
            if begin >= len(cls.content):
                self.send_error(416)
                return
        self.send_response(206 if begin else 200)
        if begin:
            last = len(cls.content) - 1
            self.send_header("Content-Range", f"bytes {begin}-{last}/{last + 1}")
        if cls.tag:
            self.send_header("ETag", cls.tag)
        self.send_header("Content-Length", str(len(cls.content) - begin))
        self.end_headers()
        end = None if cls.limit is None else begin + cls.limit
        self.wfile.write(cls.content[begin:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    handler = type("Handler", (Breaking,), {"asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_port}/x.pyth"
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def broken(server, goal):
    """What is left of a download whose second connection brought nothing."""
    server.limit = 250_000
    first = server.do_GET

    def refuse(self):
        if len(self.asked) >= 1:
            self.asked.append("refused")
            self.send_error(503)
        else:
            first(self)

    server.do_GET = refuse
    with pytest.raises(OSError, match="503"):
        download(server.url, goal)
    server.do_GET, server.limit = first, None
    server.asked.clear()
    assert not goal.exists() and goal.with_name("x.pyth.part").stat().st_size == 250_000


def test_a_connection_that_breaks_is_taken_up_again(server, tmp_path):
    server.limit = 250_000
    download(server.url, tmp_path / "x.pyth")
    assert (tmp_path / "x.pyth").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=250000-", "bytes=500000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["x.pyth"]


def test_a_later_call_goes_on(server, tmp_path):
    broken(server, tmp_path / "x.pyth")
    download(server.url, tmp_path / "x.pyth")
    assert (tmp_path / "x.pyth").read_bytes() == CONTENT
    assert server.asked == ["bytes=250000-"]


@pytest.mark.parametrize(
    "change",
    [{"content": OTHER, "tag": '"two"'}, {"ranges": False}, {"content": OTHER, "tag": None}],
    ids=["another version", "a server without ranges", "another version without a name"],
)
def test_where_it_cannot_go_on_it_begins_again(server, tmp_path, change):
    broken(server, tmp_path / "x.pyth")
    for name, value in change.items():
        setattr(server, name, value)
    download(server.url, tmp_path / "x.pyth")
    assert (tmp_path / "x.pyth").read_bytes() == server.content
    assert [path.name for path in tmp_path.iterdir()] == ["x.pyth"]


def test_a_part_without_a_version_is_not_trusted(server, tmp_path):
    server.tag = None
    broken(server, tmp_path / "x.pyth")
    server.content = OTHER
    download(server.url, tmp_path / "x.pyth")
    assert (tmp_path / "x.pyth").read_bytes() == OTHER and server.asked == [None]


def test_a_part_that_is_all_of_it_or_more(server, tmp_path):
    (tmp_path / "x.pyth.part").write_bytes(CONTENT + b"more")
    (tmp_path / "x.pyth.part.version").write_text(server.tag)
    download(server.url, tmp_path / "x.pyth")
    assert (tmp_path / "x.pyth").read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT) + 4}-", None]


def test_an_empty_file(server, tmp_path):
    server.content = b""
    with pytest.raises(OSError, match="empty"):
        download(server.url, tmp_path / "x.pyth")
    assert not (tmp_path / "x.pyth").exists()


@pytest.mark.parametrize(
    "url, expected",
    [
        ("http://host/a/X3D_S.pyth", r"a/X3D_S\.pyth"),
        ("http://host/a/X3D_S.pyth?token=1", r"a/X3D_S-[0-9a-f]{8}\.pyth"),
        ("http://host/../../etc/X3D_S.pyth", r"etc/X3D_S\.pyth"),
        (f"http://host/X3D_S.pyth?{'long' * 200}", r"X3D_S-[0-9a-f]{8}\.pyth"),
    ],
)
def test_where_files_lie(tmp_path, url, expected):
    found = cached_path(url, str(tmp_path))
    assert re.fullmatch(expected, str(found.relative_to(tmp_path)))
