"""How another library's file of weights is told from others, and read by name."""

from collections.abc import Callable, Collection
from dataclasses import dataclass


def _none(name: str) -> bool:
    return False


@dataclass(frozen=True)
class WeightsFormat:
    """A naming of parameters.

    Attributes:
        name: of the format, for logs.
        fits: ``(names in the file, names in the network) -> bool``: whether the file has this
            naming, and the network is one that its weights fit.
        rename: ``names in the file -> {name in the file: name in the network}``. A name without
            counterpart is kept, so that loading by name reports it.
        skip: whether what the file calls by a name is not to be used.
        has_statistics: whether its BatchNorm statistics are those of its weights.
        adapts: it carries weights over from another network. A file's own naming is reported,
            where there is one.
    """

    name: str
    fits: Callable[[Collection[str], Collection[str]], bool]
    rename: Callable[[list[str]], dict[str, str]]
    skip: Callable[[str], bool] = _none
    has_statistics: bool = True
    adapts: bool = False
