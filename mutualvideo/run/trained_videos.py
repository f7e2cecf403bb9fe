"""Which videos a checkpoint was trained on, so that lists that change are noticed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

logger = logging.getLogger(__name__)


class _Named(Protocol):
    """A video of a list."""

    @property
    def name(self) -> str:
        """What the list calls it."""


# In a checkpoint: of the list it was trained on last, and of what was trained on before and is in
# it no more.
_NOW, _BEFORE = "videos", "videos_before"


def noted(videos: Sequence[_Named] | None) -> dict[str, Tensor]:
    """What a checkpoint says of its training list; empty of a data set that is no list.

    Args:
        videos: of the list.

    Returns:
        ``{"videos": int64 (N,)}``: the names, 8 bytes of a hash each.
    """
    return {} if videos is None else {_NOW: torch.tensor(list(map(_digest, videos)))}


def compare_lists(
    path: str, content: Mapping[str, Any], videos: Sequence[_Named] | None
) -> tuple[dict[str, Tensor], bool]:
    """Holds a training list against the one of a checkpoint; warns if it was changed.

    Args:
        path, content: of the checkpoint; one of an earlier version says nothing.
        videos: of the list.

    Returns:
        (what the next checkpoint says, see :func:`noted`, whether the list is another).
    """
    now, before = noted(videos), content.get(_NOW)
    if not now or not isinstance(before, Tensor):
        return now, False
    ours, theirs = set(now[_NOW].tolist()), set(before.tolist())
    if gone := _all(content) - ours:
        now[_BEFORE] = torch.tensor(sorted(gone))
    if torch.equal(now[_NOW], before):
        return now, False
    logger.warning(
        "%s was trained on another list: %d videos are new, %d are gone%s",
        path,
        len(ours - theirs),
        len(theirs - ours),
        "" if ours != theirs else ", and their order is another",
    )
    return now, True


def warn_if_trained_on(path: str, content: Mapping[str, Any], videos: Sequence[_Named]) -> None:
    """Warns if videos to evaluate on are among those that the checkpoint was trained on."""
    known = _all(content)
    both = [video.name for video in videos if known and _digest(video) in known]
    if both:
        logger.warning(
            "%s was trained on %d of the %d videos to evaluate on (such as %s): the accuracy will "
            "be too good",
            path,
            len(both),
            len(videos),
            both[0],
        )


def _all(content: Mapping[str, Any]) -> set[int]:
    parts = [content.get(key) for key in (_NOW, _BEFORE)]
    return {one for part in parts if isinstance(part, Tensor) for one in part.tolist()}


def _digest(video: _Named) -> int:
    found = hashlib.blake2b(video.name.encode(), digest_size=8).digest()
    return int.from_bytes(found, "big", signed=True)
