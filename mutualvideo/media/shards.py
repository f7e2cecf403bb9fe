"""Videos as members of tar files (shards): a member is one large read, decoded from memory.

The path of such a video goes on into the tar: ``train-000000.tar/jump/a.mp4``. An index beside the
tar says where its members lie. Without one, as beside shards that were made elsewhere, the headers
in the tar say it: a read for each member, once in a process.
"""

import functools
import io
import json
import os
import posixpath
import re
import tarfile
from pathlib import Path

from mutualvideo.files import atomic_path
from mutualvideo.media.reader import DecodeError, require_descriptors

SUFFIX = ".tar"
_VERSION = 1
# Indexes that a process holds: of about a hundred thousand videos.
_HELD = 256
_INTO_A_TAR = re.compile(r"(.*\.tar)[/\\]")


def shard_of(path):
    """The tar that the path of a video leads into, by its name alone; ``None``: into none.

    Nothing is looked for: lists have millions of lines.
    """
    found = _INTO_A_TAR.match(path)
    return found and found[1]


def split_member(path):
    """(path of the tar, name of the member) of the path of a video, both str.

    ``None`` if no part of it is a tar: it is a file of its own.
    """
    if SUFFIX not in str(path):
        return None
    path = Path(path)
    for tar in path.parents:
        if tar.suffix == SUFFIX and tar.is_file():
            return str(tar), path.relative_to(tar).as_posix()
    return None


def index_path(tar):
    """Where the index of a tar lies, as ``Path``."""
    return Path(f"{tar}.json")


def is_there(path):
    """Whether there is a file or folder at ``path``, or such a member of a shard.

    Of a shard that cannot be read, opening the video says what is wrong: it counts as there.
    """
    found = split_member(path)
    if found is None:
        return os.path.exists(path)
    try:
        return found[1] in members_of(found[0])
    except DecodeError:
        return True


class Content:
    """What a decoder opens: a file by its path, a member of a shard as bytes in memory.

    Args:
        path: of the video.
    """

    def __init__(self, path):
        self.path = str(path)
        self._data = None

    def exists(self):
        """Whether there is a file; of a member, whether there is its shard."""
        return os.path.isfile(self.path) or split_member(self.path) is not None

    def open(self):
        """The whole path, or a binary file in memory; a member is read at the first call.

        FFmpeg takes what stands before a colon in a relative path for a protocol.

        Raises:
            DecodeError: if the shard holds no such member, or is not what its index says.
        """
        if self._data is None:
            found = split_member(self.path)
            if found is None:
                return os.path.abspath(self.path)
            self._data = read_member(*found)
        return _Named(self._data, self.path)

    def release(self):
        """Gives up the bytes; opening reads them again."""
        self._data = None


class _Named(io.BytesIO):
    """A file in memory; FFmpeg takes the ending of its name as a hint, as of any other."""

    def __init__(self, data, name):
        super().__init__(data)
        self.name = name


def read_member(tar, name):
    """The bytes of a member, by one read of it with the header before it.

    Args:
        tar: path.
        name: of the member.

    Raises:
        DecodeError: if there is no such member, the tar is truncated, or its index is another's.
    """
    with _opened(tar) as file:
        members = _members(tar, file)
        if name not in members:
            raise DecodeError(f"{tar}/{name}: the shard holds no such member; correct the list")
        offset, size = members[name]
        file.seek(offset - tarfile.BLOCKSIZE)
        data = memoryview(file.read(tarfile.BLOCKSIZE + size))
    if len(data) < tarfile.BLOCKSIZE + size:
        raise DecodeError(f"{tar}/{name}: the shard is truncated; copy it again")
    header = bytes(data[: tarfile.BLOCKSIZE])
    if not _is_header_of(header, name, size):
        raise DecodeError(
            f"{tar}/{name}: is not where {index_path(tar)} says; delete the index if the shard is "
            "right, or copy both again"
        )
    return bytes(data[tarfile.BLOCKSIZE :])


def write_index(tar):
    """Writes the index of a tar beside it; returns ``{name: (offset, size)}`` in their order.

    Raises:
        DecodeError: if the tar cannot be read.
        InputError: if the index cannot be written.
    """
    with _opened(tar) as file:
        members, size = _scan(tar, file), os.fstat(file.fileno()).st_size
    text = json.dumps({"version": _VERSION, "bytes": size, "members": members})
    with atomic_path(index_path(tar)) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")
    return members


def members_of(tar):
    """``{name: (offset, size)}`` of a tar, in bytes, by its index or else by its headers.

    Raises:
        DecodeError: if the tar cannot be read, or its index is another's.
    """
    with _opened(tar) as file:
        return _members(tar, file)


def _opened(tar):
    try:
        return open(tar, "rb")
    except OSError as error:
        require_descriptors(error, tar)
        raise DecodeError(f"{tar}: the shard cannot be opened ({error.strerror})") from None


def _members(tar, file):
    state = os.fstat(file.fileno())
    return _held_members(str(tar), state.st_size, state.st_mtime_ns)


@functools.lru_cache(_HELD)
def _held_members(tar, size, _changed):
    path = index_path(tar)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        with _opened(tar) as file:
            return _scan(tar, file)
    except (OSError, UnicodeDecodeError) as error:
        require_descriptors(error, path)
        raise DecodeError(f"{path}: cannot be read; delete it, the shard will do") from None
    try:
        found = json.loads(text)
        version, wanted = found["version"], found["bytes"]
        members = {str(name): _place(*place) for name, place in found["members"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise DecodeError(f"{path}: is no index of a shard; delete it, the shard will do") from None
    if version != _VERSION:
        raise DecodeError(f"{path}: is of version {version!r}, not {_VERSION}; delete it")
    if wanted != size:
        raise DecodeError(
            f"{tar}: has {size} bytes, and {wanted} by its index {path.name}: one of them is "
            "truncated or of another shard; copy both again"
        )
    return members


def _place(offset, size):
    if type(offset) is not int or type(size) is not int or offset < tarfile.BLOCKSIZE or size < 0:
        raise ValueError
    return offset, size


def _scan(tar, file):
    """{name: (offset, size)} by the headers: a seek from each to the next."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            return {
                _plain(member.name): (member.offset_data, member.size)
                for member in archive
                if member.isreg() and not member.issparse()
            }
    except (tarfile.TarError, OSError, ValueError) as error:
        raise DecodeError(
            f"{tar}: is truncated, or no uncompressed tar ({error}); copy it again"
        ) from None


def _is_header_of(header, name, size):
    try:
        found = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    # Of longer names and others than ASCII the header itself may hold a part.
    whole = name.isascii() and len(found.name) < tarfile.LENGTH_NAME
    return found.isreg() and found.size == size and (not whole or _plain(found.name) == name)


def _plain(name):
    """As the path of a video ends: ``tar -cf x.tar .`` calls members ``./jump/a.mp4``."""
    return posixpath.normpath(name)
