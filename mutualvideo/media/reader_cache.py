"""Readers that stay, with what they decoded: for data sets that fit into memory."""

from mutualvideo.errors import InputError

_GIB = 2**30


class ReaderCache:
    """Keeps every reader that it opened, and in memory what that decoded.

    Args:
        gib: the most to keep, in GiB (``DATA.CACHE``); above 0.

    Attributes:
        used: bytes kept so far.
    """

    def __init__(self, gib):
        self.used = 0
        self._gib, self._readers = gib, {}

    def open(self, key, make):
        """The reader of ``key``, closed by the end of its ``with`` and opened again if need be.

        Args:
            key: hashable; which video or picture.
            make: called without arguments if it was not opened yet; returns a
                :class:`mutualvideo.media.Reader`.
        """
        if key not in self._readers:
            reader = make()
            reader.keep(self._count)
            self._readers[key] = reader
        return self._readers[key]

    def _count(self, size):
        self.used += size
        if self.used > self._gib * _GIB:
            raise InputError(
                f"DATA.CACHE {self._gib:g} GiB is full with frames of {len(self._readers)} videos "
                "or pictures: raise it as far as the memory allows, or set it to 0"
            )
