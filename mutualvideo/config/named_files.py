"""The configurations that come with the package, found by name: ``Kinetics/X3D_M_mutual``."""

import difflib
import os
from pathlib import Path

from mutualvideo.errors import InputError

_ENDING = ".yaml"
_FOLDER = "configs"
# What files are based on, no trainings.
_BASES = "_base_"


def configs_folder() -> Path:
    """Where the files lie: inside of an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / _FOLDER
    return installed if installed.is_dir() else package.parent / _FOLDER


def named_configs() -> dict[str, str]:
    """``{name: the first line of its header}`` of all that can be trained, by name."""
    root = configs_folder()
    paths = sorted(path for path in root.glob(f"*/*{_ENDING}") if path.parent.name != _BASES)
    return {_name(path, root): _first_line(path) for path in paths}


def find_config(given: str | os.PathLike[str]) -> str:
    """The path of a configuration file.

    Args:
        given: a path; or, where there is no such file, the name of one that comes with the
            package, with or without ``configs/`` and ``.yaml``.

    Raises:
        InputError: if it is neither; names the nearest.
    """
    text = os.fspath(given)
    if os.path.isfile(text):
        return text
    root, name = configs_folder(), _bare(text)
    for path in root.rglob(f"*{_ENDING}"):
        if _name(path, root) == name:
            return str(path)
    names = list(named_configs())
    near = [one for one in names if one.endswith(f"/{name}")]
    near = near or difflib.get_close_matches(name, names, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "`mutualvideo configs` lists those"
    raise InputError(f"{text}: no such config file, nor one of this name in the package; {hint}")


def is_named(given: str) -> bool:
    """Whether the package has a configuration of this name, see :func:`find_config`."""
    root = configs_folder()
    return any(_name(path, root) == _bare(given) for path in root.rglob(f"*{_ENDING}"))


def _bare(text: str) -> str:
    return text.replace(os.sep, "/").removesuffix(_ENDING).removeprefix(f"{_FOLDER}/")


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()


def _first_line(path: Path) -> str:
    with open(path, encoding="utf-8") as file:
        return file.readline().lstrip("# ").rstrip()
