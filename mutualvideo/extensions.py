"""Networks, data sets and backends from outside the package: the files and packages that add them.

A user names them: in the key EXTENSIONS of a configuration, with ``--extension``, or by
:func:`load_extensions`; an installed package names them itself, by an entry point. Nothing here is
ever told by a checkpoint or a folder: whoever could write one could run code otherwise.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from mutualvideo.errors import InputError, shown

ENTRY_POINTS = "mutualvideo.extensions"


def locate_extension(name: str, folder: str | os.PathLike[str] = "") -> str:
    """``name`` as it is kept: a module's name, or the absolute path of a ``.py`` file.

    Args:
        name: what ends in ``.py`` is a file, all else is a module.
        folder: what a relative path starts from; empty: the current folder.
    """
    if not name.endswith(".py"):
        return name
    return os.path.abspath(os.path.join(folder, os.path.expanduser(name)))


def load_extensions(names: Iterable[str], origin: str = "load_extensions()") -> None:
    """Imports files and modules, which register what they add; those imported before stay.

    Args:
        names: paths of ``.py`` files, or names of modules, see :func:`locate_extension`.
        origin: who names them, for messages.

    Raises:
        InputError: if one does not exist, cannot be imported, or is called as another module.
    """
    for name in names:
        name = locate_extension(name)
        try:
            if name.endswith(".py"):
                _import_file(name)
            else:
                importlib.import_module(name)
        except InputError as error:
            raise InputError(f"{origin}: extension {name}: {error}") from error
        except Exception as error:
            reason = f"{type(error).__name__}: {shown(str(error))}"
            raise InputError(f"{origin}: extension {name} cannot be imported: {reason}") from error


def missing_extensions(names: object) -> str:
    """Advice about extensions that a file was written with and that are not imported; or ``""``.

    Args:
        names: as EXTENSIONS holds them; the file may be anybody's, and so may this value.
    """
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return ""
    modules = {name: Path(name).stem if name.endswith(".py") else name for name in names}
    absent = [name for name, module in modules.items() if module not in sys.modules]
    if not absent:
        return ""
    return (
        f"it was written with the extensions {shown(absent)}, which a file like this cannot load: "
        "name them yourself, by EXTENSIONS, --extension or mutualvideo.load_extensions()"
    )


@cache
def load_entry_points() -> None:
    """Imports what installed packages name in the group ``mutualvideo.extensions``; once.

    Raises:
        InputError: naming the package, if one cannot be imported.
    """
    for found in entry_points(group=ENTRY_POINTS):
        try:
            found.load()
        except Exception as error:
            package = found.dist.name if found.dist else found.value
            raise InputError(
                f"the package {package} extends mutualvideo by {found.value}, which cannot be "
                f"imported ({type(error).__name__}: {shown(str(error))}): repair or uninstall it"
            ) from error


def _import_file(path: str) -> None:
    name = Path(path).stem
    if not os.path.isfile(path):
        raise InputError("no such file")
    if not name.isidentifier():
        raise InputError(f"{name} cannot be the name of a module: rename the file")
    if name in sys.modules:
        before = getattr(sys.modules[name], "__file__", None)
        if before is None or not os.path.samefile(before, path):
            raise InputError(f"another module is called {name} ({before}): rename the file")
        return
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # it ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # Last, so that nothing is hidden: loader workers that are spawned find it by its name.
    folder = os.path.dirname(path)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
