"""Networks, detectors and data sets by their names. Each puts itself in, from its own file."""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

from fvcore.common.registry import Registry as _Registry

from mutualvideo.errors import InputError, shown
from mutualvideo.extensions import load_entry_points


class Registry(_Registry):
    """fvcore's registry, asked by people: it knows what is built in, and says what there is.

    Args:
        kind: what it holds, in messages.
        key: the configuration key that names one of them.
        home: the module that imports all that is built in. It is imported when the registry is
            first asked, so that whoever asks may lie in a room below.
    """

    def __init__(self, kind: str, key: str, home: str) -> None:
        super().__init__(kind)
        self._key, self._home = key, home

    def register(self, obj: Any = None) -> Any:
        """Adds a class or a function by its attribute ``name``, or else its own name.

        A decorator, also with empty parentheses. Running the same definition again (in a
        notebook) replaces it.

        Raises:
            InputError: if another one has the name, or a class lacks methods that it needs.
        """
        if obj is None:
            return self.register
        name = getattr(obj, "name", None) or obj.__name__
        if inspect.isabstract(obj):
            lacks = ", ".join(sorted(obj.__abstractmethods__))
            raise InputError(f"{self._name} {name}: the class {obj.__name__} lacks {lacks}")
        before = self._obj_map.get(name)
        if before is not None and _place(before) != _place(obj):
            raise InputError(
                f"{self._name} {name}: is there already, in {'.'.join(_place(before))}: give the "
                f"one of {'.'.join(_place(obj))} another name"
            )
        self._obj_map[name] = obj
        return obj

    def all(self) -> dict[str, Any]:
        """``{name: what is registered}``: built in, by entry points, by what was imported."""
        import_module(self._home)
        load_entry_points()
        return dict(self._obj_map)

    def find(self, name: str) -> Any:
        """What is registered as ``name``.

        Raises:
            InputError: naming all that there are, if it is not registered.
        """
        there = self.all()
        if name not in there:
            raise InputError(
                f"{self._key} {name if isinstance(name, str) else shown(name)}: no such "
                f"{self._name}; known: {', '.join(sorted(there))} (one of your own: name its file "
                "in EXTENSIONS)"
            )
        return there[name]


def from_outside(obj: Callable[..., Any]) -> str | None:
    """Name of the module that ``obj`` was registered by; ``None`` if it is built in."""
    module = obj.__module__
    return None if module.partition(".")[0] == "mutualvideo" else module


def _place(obj: Any) -> tuple[str, str]:
    return obj.__module__, obj.__qualname__


NETWORKS = Registry("network", "MODEL.MODEL_NAME", "mutualvideo.models")
# Apart from networks, which give one answer for an input: a configuration chooses from both.
DETECTORS = Registry("detector", "MODEL.MODEL_NAME", "mutualvideo.detection")
DATASETS = Registry("data set", "DATASET", "mutualvideo.data.sources")


def is_detector(name: str) -> bool:
    """Whether MODEL.MODEL_NAME ``name`` is a detector's; a network is not looked for further."""
    return name not in NETWORKS.all() and name in DETECTORS.all()


def network_named(name: str) -> Any:
    """The class of the network or the detector that MODEL.MODEL_NAME names.

    Raises:
        InputError: naming all networks, if there is neither.
    """
    return (DETECTORS if is_detector(name) else NETWORKS).find(name)
