"""JSON files, and those that say their format and version: tables, cascades, manifests."""

import json

from mutualvideo.errors import InputError, shown


def read_json(path):
    """What a JSON file holds.

    Raises:
        InputError: if it is missing, or no JSON.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not a JSON file ({error})") from error


def read_document(path, what, form, newest, oldest=None, remedy="make it anew"):
    """The content of such a file.

    Args:
        path: the file.
        what: what it should be, for messages: "a query table".
        form: its "format".
        newest, oldest: versions that can be read; ``oldest`` left out: the newest alone.
        remedy: what to do about a file of another version.

    Returns:
        dict of all that the file holds.

    Raises:
        InputError: if it is missing, no JSON, or of another format or version.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != form:
        raise InputError(f'{path}: is not {what} (no "format": "{form}")')
    version = content.get("version")
    oldest = newest if oldest is None else oldest
    if type(version) is not int or not oldest <= version <= newest:
        known = f"{newest}" if oldest == newest else f"{oldest} to {newest}"
        raise InputError(
            f"{path}: has version {shown(version)}, this release reads {known}: {remedy}"
        )
    return content
