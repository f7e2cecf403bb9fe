"""Which checkpoint a table belongs to, by the file's content."""

import hashlib

from mutualvideo.errors import InputError


def fingerprint(path):
    """What tells one file's content from another's: ``sha256:`` and 64 hexadecimal digits.

    Raises:
        InputError: if the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return f"sha256:{digest.hexdigest()}"
