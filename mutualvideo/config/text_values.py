"""Values together with the text that was written for them: a key's type decides what it means."""

import ast
import math
from dataclasses import dataclass

import yaml

from mutualvideo.errors import InputError, shown


@dataclass(frozen=True)
class Written:
    """A value and its text.

    Args:
        value: as YAML or Python reads the text.
        text: as it was written, without the quotes around it.
    """

    value: object
    text: str


def plain(value, seen=None):
    """The value, whether its text is with it or not; of lists, whatever is in them, too."""
    if isinstance(value, Written):
        return plain(value.value, seen)
    if not isinstance(value, (list, tuple)):
        return value
    # A list of YAML may hold itself, or one list a million times.
    seen = {} if seen is None else seen
    if id(value) not in seen:
        seen[id(value)] = found = []
        found.extend(plain(one, seen) for one in value)
    return seen[id(value)]


def from_command_line(text):
    """What was typed for an override."""
    value = literal(text)
    return Written(value, value if isinstance(value, str) else text)


def literal(text):
    """The Python value that a text stands for, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def of_yaml(text):
    """What a YAML file holds, scalars that are no text as :class:`Written`.

    Raises:
        Exception: whatever PyYAML lets through for a text that is no YAML.
    """
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """A ``SafeLoader`` that remembers texts; keys of mappings stay plain."""

    def construct_mapping(self, node, deep=False):
        found = super().construct_mapping(node, deep)
        return {plain(key): value for key, value in found.items()}


def _remembering(construct):
    def build(loader, node):
        return Written(construct(loader, node), node.value)

    return build


for _tag in ("int", "float", "bool", "timestamp"):
    _tag = f"tag:yaml.org,2002:{_tag}"
    _Loader.add_constructor(_tag, _remembering(yaml.SafeLoader.yaml_constructors[_tag]))


def number_of(written, key, origin):
    """The number of a :class:`Written`, if YAML and everybody else read the same one.

    Raises:
        InputError: for numbers to base 8 or 60: ``0123`` is 83, ``12:30`` is 750.
    """
    value, text = written.value, written.text
    plain_text = text.replace("_", "")
    try:
        # A whole number may be larger than any float.
        if type(value) is int:
            same = int(plain_text) == value
        else:
            same = float(plain_text) == value or math.isnan(value)
    except ValueError:
        same = text.lower().lstrip("+-").startswith(("0x", "0b", "0o", ".inf", ".nan"))
    if not same:
        raise InputError(
            f"{origin}: {key} is {shown(text)}, which YAML reads as {shown(value)}: write the "
            "number that is meant"
        )
    return value
