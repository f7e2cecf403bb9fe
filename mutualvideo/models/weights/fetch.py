"""Files of weights by path, by URL, or by name: fetched once, checked whenever they are used."""

import hashlib
import logging
import os
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

from iopath.common.file_io import PathManager, get_cache_dir

from mutualvideo.errors import InputError
from mutualvideo.files import atomic_path
from mutualvideo.models.weights.download import ResumingURLHandler, cached_path
from mutualvideo.models.weights.zoo import PREFIX, released

logger = logging.getLogger(__name__)

_SCHEMES = ("http", "https")


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` is a URL, or the name of released weights (``zoo:x3d_s``)."""
    text = os.fspath(path)
    return text.startswith(PREFIX) or urlsplit(text).scheme in _SCHEMES


def local_weights(path: str | os.PathLike[str]) -> str:
    """``path`` as a file on this machine.

    A name or URL is fetched once, through iopath, into ``$FVCORE_CACHE``
    (``~/.torch/iopath_cache``); one process fetches, others on the machine wait for it, and what
    broke off is taken up again. Its SHA-256 is held against the one in
    the file's name, where released weights carry one, or else against that of the first time.

    Args:
        path: of a file, a URL (http or https), or ``zoo:`` and a name of
            :data:`~mutualvideo.models.weights.zoo.ZOO`.

    Raises:
        InputError: for an unknown name, a file that cannot be fetched (there may be no network), or
            one that is not what it was.
    """
    text = os.fspath(path)
    if not is_remote(text):
        return text
    url, digits = text, ""
    if text.startswith(PREFIX):
        one = released(text)
        url, digits = one.url, one.sha256
    parts = urlsplit(url)
    # Of two hosts with the same path iopath would take one file for the other.
    folder = os.path.join(get_cache_dir(), parts.netloc.replace(":", "_"))
    manager = PathManager()
    manager.register_handler(ResumingURLHandler())
    try:
        found = manager.get_local_path(url, cache_dir=folder)
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) if isinstance(error, URLError) else None
        place = cached_path(url, folder)
        raise InputError(
            f"{text}: cannot be fetched from {url} ({why or error}); without a network, fetch it "
            f"on another machine and name the file, or put it at {place}"
        ) from error
    _check(Path(found), text, digits)
    return found


def _check(path: Path, name: str, digits: str) -> None:
    """Raises InputError if the file is not what was published, or what it was the first time."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    found = digest.hexdigest()
    note = path.with_name(path.name + ".sha256")
    if not digits and note.is_file():
        digits = note.read_text(encoding="utf-8").split(" ")[0].strip()
    if not found.startswith(digits):
        raise InputError(
            f"{name}: {path} has the SHA-256 {found[:16]}..., expected {digits[:16]}: it is "
            f"damaged or another file; remove it and {note.name}, and it is fetched again"
        )
    if not note.is_file():
        with atomic_path(note) as temporary:
            temporary.write_text(f"{found}  {path.name}\n", encoding="utf-8")
        logger.info("%s: %s, SHA-256 %s", name, path, found)
