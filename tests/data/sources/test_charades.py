import numpy as np
import pytest
from PIL import Image

from mutualvideo.data.sources import read_videos
from mutualvideo.errors import InputError
from mutualvideo.media.reading import open_reader

HEADER = "original_vido_id video_id frame_id path labels\n"


def _row(name, number, labels):
    return f"{name} 0 {number} {name}/{name}-{number:06d}.jpg {labels}\n"


@pytest.fixture
def cfg(cfg):
    cfg.MODEL.NUM_CLASSES = 157
    return cfg


@pytest.mark.parametrize("prefix", ["", "frames"])
def test_pictures_and_labels(prefix, cfg, write, tmp_path):
    # A label need not stand beside every picture, and quotes may be doubled.
    rows = [
        _row("46GP8", 1, '""'),
        _row("N11GT", 1, '""""'),
        _row("46GP8", 2, '"77"'),
        _row("N11GT", 2, '"3,3"'),
        _row("46GP8", 3, '"77"'),
    ]
    write({"train.csv": HEADER + "".join(rows)})
    for name, count in (("46GP8", 3), ("N11GT", 2)):
        folder = tmp_path / prefix / name
        folder.mkdir(parents=True)
        for number in range(1, count + 1):
            Image.new("RGB", (32, 32), (number * 40,) * 3).save(folder / f"{name}-{number:06d}.jpg")
    cfg.DATA.PATH_PREFIX = str(tmp_path / prefix) if prefix else ""
    found = read_videos("charades", cfg, "train")
    assert [(v.name, v.label, v.line) for v in found.videos] == [("46GP8", 77, 2), ("N11GT", 3, 3)]
    assert found.mirrored and not found.segments
    with open_reader(found.videos[0]) as reader:
        # The sampling rate counts pictures, whatever rate they were taken at.
        assert len(reader) == 3 and reader.fps == cfg.DATA.TARGET_FPS
        means = reader.read([0, 1, 2]).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(means, [40, 80, 120], atol=2)


def test_val_and_test_share_a_list(cfg, write):
    write({"val.csv": HEADER.replace("vido", "video") + _row("a", 1, '"5"')})
    assert read_videos("charades", cfg, "test").videos[0].label == 5
    assert read_videos("charades", cfg, "val").origin.endswith("val.csv")


@pytest.mark.parametrize(
    "text, words",
    [
        (None, r"train.csv: no such file; download PySlowFast's frame list"),
        (b"\xff\xfe", r"train.csv: cannot be read .* not UTF-8"),
        ("", r"train.csv:1: expected the header 'original_vido_id"),
        ("a.mp4 0\n", r"train.csv:1: expected the header"),
        (HEADER, r"train.csv: holds no picture"),
        (HEADER + "a 0 0 a/1.jpg\n", r"train.csv:2: 4 columns instead of 5"),
        (HEADER + _row("a", 1, '"x"'), r"train.csv:2: the label 'x' is not an integer"),
        (HEADER + _row("a", 1, '"1,"'), r"train.csv:2: the label '' is not an integer"),
        (
            HEADER + _row("b", 1, '"1"') + _row("a", 1, '"1,2"') + _row("a", 2, '"7"'),
            r"train.csv:3: a has the labels \[1, 2, 7\]; set DATA.MULTI_LABEL True",
        ),
        (HEADER + _row("a", 1, '""'), r"train.csv:2: a has the labels \[\]"),
        (HEADER + _row("a", 1, '"157"'), r"train.csv:2: the label 157 is outside 0 .. 156"),
        (
            HEADER + _row("a", 1, '"1"') + 'a 0 1 b/a.jpg "1"\n',
            r"train.csv:3: b/a.jpg is not in a, where the others of a are",
        ),
    ],
)
def test_bad_lists(text, words, cfg, write):
    if text is not None:
        write({"train.csv": text})
    with pytest.raises(InputError, match=words) as caught:
        read_videos("charades", cfg, "train")
    assert "\n" not in str(caught.value)
