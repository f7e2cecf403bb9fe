import re

import pytest

from mutualvideo.data.annotations import Video, read_annotations
from mutualvideo.errors import InputError


def _write(folder, text):
    path = folder / "train.csv"
    path.write_text(text)
    return path


def test_paths_labels_and_lines(tmp_path):
    path = _write(tmp_path, "a.mp4 0\n\n/abs/b c.mp4 2\n  sub dir/d.mp4 1\r\n")
    assert read_annotations(path, num_classes=3) == [
        Video(str(tmp_path / "a.mp4"), 0, 1),
        Video("/abs/b c.mp4", 2, 3),
        Video(str(tmp_path / "sub dir/d.mp4"), 1, 4),
    ]


def test_separator_and_prefix(tmp_path):
    path = _write(tmp_path, "a,1.mp4,7\n")
    assert read_annotations(path, ",", "/videos") == [Video("/videos/a,1.mp4", 7, 1)]


@pytest.mark.parametrize("name", ["/abs/a.mp4", "../a.mp4", "b/../../a.mp4", ".."])
def test_paths_stay_below_the_prefix_unless_allowed(tmp_path, name):
    path = _write(tmp_path, f"b.mp4 0\n{name} 1\n")
    refused = rf"train.csv:2: the path '{name}' leads out of DATA.PATH_PREFIX /videos"
    with pytest.raises(InputError, match=refused):
        read_annotations(path, prefix="/videos")
    allowed = read_annotations(path, prefix="/videos", allow_absolute=True)
    # PySlowFast's lists: absolute paths, no prefix.
    free = read_annotations(path)
    absolute = name.startswith("/")
    assert allowed[1].path == (name if absolute else f"/videos/{name}")
    assert free[1].path == (name if absolute else f"{tmp_path}/{name}")


@pytest.mark.parametrize("name", ["c/../a.mp4", "..a.mp4", "...", "a..b/c.mp4"])
def test_paths_with_dots_that_stay_below_the_prefix(tmp_path, name):
    path = _write(tmp_path, f"{name} 1\n")
    assert read_annotations(path, prefix="/videos")[0].path == f"/videos/{name}"


@pytest.mark.parametrize(
    "text, words",
    [
        ("a.mp4 0\nb.mp4\n", r"train.csv:2: no label"),
        (" 0\n", r"train.csv:1: no label"),
        ("a.mp4 0\n\nb.mp4 cat\n", r"train.csv:3: the label 'cat' is not an integer"),
        ("a.mp4 1.0\n", r"train.csv:1: .* not an integer"),
        ("a.mp4 3\n", r"train.csv:1: the label 3 is outside 0 .. 2; .*MODEL.NUM_CLASSES"),
        ("a.mp4 -1\n", r"train.csv:1: the label -1 is outside"),
        ("\n\n", r"train.csv: holds no video"),
        ("a\0.mp4 1\n", r"train.csv:1: the path 'a\\x00.mp4' holds a zero byte"),
    ],
)
def test_bad_lists(tmp_path, text, words):
    with pytest.raises(InputError, match=words) as caught:
        read_annotations(_write(tmp_path, text), num_classes=3)
    assert "\n" not in str(caught.value)


def test_missing_and_unreadable(tmp_path):
    with pytest.raises(InputError, match="absent.csv: no such file"):
        read_annotations(tmp_path / "absent.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00 1\n")
    with pytest.raises(InputError, match="bytes.csv: cannot be read"):
        read_annotations(tmp_path / "bytes.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_annotations(tmp_path)
    with pytest.raises(InputError, match="PATH_LABEL_SEPARATOR"):
        read_annotations(tmp_path / "bytes.csv", separator="")


@pytest.mark.parametrize(
    "line, separator, message",
    [
        ("'a b.mp4' 3", " ", "the path 'a b.mp4' is in quotes"),
        ('"a.mp4",3', ",", 'the path "a.mp4" is in quotes'),
        ("a.mp4 120 3", " ", "'a.mp4 120 3' has more columns than path and label"),
        ("a.mp4 0.5 10. 3", " ", "has more columns than path and label"),
        ("dir/a.webm,-1,3", ",", "has more columns"),
        ("a.mp4 1_0", " ", "the label '1_0' is not an integer"),
        ("a.mp4 ١", " ", "is not an integer"),
        ("a.mp4 1.0", " ", "the label '1.0' is not an integer"),
        ("a.mp4 +1", " ", "is not an integer"),
    ],
)
def test_what_no_line_of_a_list_is(tmp_path, line, separator, message):
    path = tmp_path / "list.csv"
    path.write_text(f"good.mp4{separator}1\n{line}\n")
    with pytest.raises(InputError, match=rf"list.csv:2: .*{re.escape(message)}"):
        read_annotations(path, separator)


@pytest.mark.parametrize(
    "name", ["my video 3.mp4", "take 3", "2024 11 26.mp4", "it's.mp4", "a.b 3.mp4", "'tis.mp4"]
)
def test_paths_that_look_odd_and_are_paths(tmp_path, name):
    path = tmp_path / "list.csv"
    path.write_text(f"{name} 1\n")
    assert [(video.name, video.label) for video in read_annotations(path)] == [(name, 1)]
