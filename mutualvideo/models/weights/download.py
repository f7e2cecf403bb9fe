"""Downloads that go on where they broke off, as a handler of iopath's."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from iopath.common.file_io import HTTPURLHandler, file_lock, get_cache_dir
from tqdm import tqdm

# Without a byte from the server.
_TIMEOUT_S = 30.0
_BLOCK = 1 << 18
_UNSATISFIABLE, _PARTIAL = 416, 206


class ResumingURLHandler(HTTPURLHandler):
    """iopath's handler of URLs, with a download that is taken up again.

    What has come lies beside the goal as ``NAME.part`` until it is whole, with what the server
    calls this version of the file (its ETag or date) in ``NAME.part.version``. A later download
    asks for the rest of that version (RFC 9110, If-Range), and gets the whole where there is
    another one by now, or where the server cannot tell.
    """

    def _get_local_path(
        self, path: str, force: bool = False, cache_dir: str | None = None, **kwargs: Any
    ) -> str:
        self._check_kwargs(kwargs)
        goal = cached_path(path, cache_dir)
        with file_lock(str(goal)):
            if force or not goal.is_file():
                download(path, goal)
        return str(goal)


def cached_path(url: str, folder: str | None = None) -> Path:
    """Where the file of a URL lies in a cache: by its path, marked where there is a query too."""
    parts = urlsplit(url)
    # An absolute path has nothing above it: ".." does not lead out of the cache.
    path = Path(get_cache_dir(folder), posixpath.normpath(f"/{parts.path}").lstrip("/"))
    if not parts.query:
        return path
    return path.with_stem(f"{path.stem}-{hashlib.sha256(parts.query.encode()).hexdigest()[:8]}")


def download(url: str, goal: Path) -> None:
    """Fetches ``url`` to ``goal``, which is there when all of it is; one process at a time.

    A connection that breaks is taken up again as long as each brings something.

    Raises:
        OSError: if the server does not answer, refuses, or sends nothing; what has come stays for
            the next time.
    """
    part = goal.with_name(goal.name + ".part")
    version = part.with_name(part.name + ".version")
    goal.parent.mkdir(parents=True, exist_ok=True)
    while True:
        before = _size(part)
        try:
            _fetch_rest(url, part, version)
            break
        except HTTPError as error:
            if error.code != _UNSATISFIABLE or not before:
                raise
            # The part is not the beginning of what is there.
            part.unlink()
        except OSError:
            if _size(part) <= before:
                raise
    if not _size(part):
        raise OSError("the server sent an empty file")
    os.replace(part, goal)
    version.unlink(missing_ok=True)


def _fetch_rest(url: str, part: Path, version: Path) -> None:
    headers = {"Accept-Encoding": "identity"}
    if _size(part) and version.is_file():
        headers["Range"] = f"bytes={_size(part)}-"
        headers["If-Range"] = version.read_text(encoding="utf-8")
    with urlopen(Request(url, headers=headers), timeout=_TIMEOUT_S) as answer:
        begin = _size(part) if answer.status == _PARTIAL else 0
        if begin and not answer.headers.get("Content-Range", "").startswith(f"bytes {begin}-"):
            raise OSError(f"asked for bytes from {begin} on, the server sent others")
        length = answer.headers.get("Content-Length")
        total = None if length is None else begin + int(length)
        with open(part, "r+b" if begin else "wb") as file:
            # Not before the old part is gone.
            _note(version, answer.headers)
            file.seek(begin)
            with tqdm(
                total=total, initial=begin, unit="B", unit_scale=True, desc=part.stem, disable=None
            ) as progress:
                for block in _blocks(answer):
                    file.write(block)
                    progress.update(len(block))
    if total is not None and _size(part) < total:
        raise OSError(f"the connection broke after {_size(part)} of {total} bytes")


def _blocks(answer: Any) -> Iterator[bytes]:
    while block := answer.read(_BLOCK):
        yield block


def _note(version: Path, headers: Any) -> None:
    """Writes what If-Range takes; without it a part is not to be taken up again."""
    tag = headers.get("ETag", "")
    name = headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
    if name:
        version.write_text(name, encoding="utf-8")
    else:
        version.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
