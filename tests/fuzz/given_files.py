"""Contents of files at random, and reading them."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from mutualvideo.errors import InputError

# The same examples in every run. No deadline: a busy machine breaks any.
fuzz = settings(
    max_examples=75,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
DIGITS = "9" * 5000
NAMES = st.text(max_size=8) | st.sampled_from(["..", "/etc/a", "a/../../b", "a.mp4", "\0", " "])
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([10**400, 2**63, -1, "1x4x16", "0.5x", DIGITS])
)
TREES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


def reads(function, *args, **kwargs):
    """What ``function`` gives, ``None`` if it refuses; anything else that it raises is a bug."""
    try:
        return function(*args, **kwargs)
    except InputError as error:
        assert str(error)
        return None


def damaged(content):
    """``content``, bytes, cut off, with bytes exchanged, or with a part of it doubled."""
    places = st.integers(0, len(content) - 1)

    def change(cut, exchanged, doubled):
        found = bytearray(content)
        for place, value in exchanged:
            found[place] = value
        start, end = sorted(doubled)
        return bytes(found[:end] + found[start:end] + found[end:])[: cut + 1]

    exchanged = st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)
    doubled = st.just((0, 0)) | st.tuples(places, places)
    cut = st.just(len(content) * 2) | places
    return st.builds(change, cut, exchanged, doubled)


def places(tree, path=()):
    """Paths to everything in a tree."""
    yield path
    if isinstance(tree, (dict, list)):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from places(value, (*path, key))


def replaced(tree, path, value):
    if not path:
        return value
    found = tree.copy()
    found[path[0]] = replaced(tree[path[0]], path[1:], value)
    return found
