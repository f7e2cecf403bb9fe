"""Keys that there were, each with the value by which networks train now.

docs/results.md says why they went. Runs that were made before carry them in their configuration,
and have to open.
"""

import logging
from typing import Any

from mutualvideo.config.text_values import plain
from mutualvideo.errors import InputError, shown

logger = logging.getLogger(__name__)

_RETIRED = {
    "MUTUAL.LOSS_WEIGHTS": "sum",
    "MUTUAL.TEMPERATURE": 1.0,
    "MUTUAL.TEACHER": "full",
    "MUTUAL.DIVERGENCE": "kl",
}


def is_retired(key: str) -> bool:
    """Whether there was such a key."""
    return key in _RETIRED


def says_nothing(key: str, value: Any) -> bool:
    """Whether it is a retired key with the value by which networks train now."""
    return key in _RETIRED and value == _RETIRED[key]


def refuse_if_changed(key: str, value: Any, origin: str) -> None:
    """Raises InputError if a retired key asks for what is not offered any more."""
    if plain(value) != _RETIRED[key]:
        raise InputError(
            f"{origin}: {key} {shown(plain(value))}: the key was taken out (docs/results.md says "
            f"why); leave it out, which is {shown(_RETIRED[key])}"
        )


def warn_if_changed(key: str, value: Any, origin: str) -> None:
    """As :func:`refuse_if_changed`, of a network that was trained so: it opens all the same."""
    if value != _RETIRED[key]:
        logger.warning(
            "%s: was trained with %s %s, which was taken out; training that goes on from it does "
            "so without",
            origin,
            key,
            shown(value),
        )
