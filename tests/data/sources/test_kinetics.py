import pytest

from mutualvideo.data.prepare import toy
from mutualvideo.data.sources import read_videos
from mutualvideo.errors import InputError


@pytest.mark.parametrize("name", ["kinetics", "toy"])
def test_the_toy_data_set(name, cfg, clips, tmp_path):
    toy.make_toy_dataset(tmp_path, 2, 1, 0, progress=False, workers=1)
    cfg.MODEL.NUM_CLASSES = 8
    assert clips(name, "train") == {0: 0, 1: 1}
    assert clips(name, "val") == clips(name, "test") == {0: 0}
    found = read_videos(name, cfg, "val")
    assert found.classes == list(toy.CLASSES)
    assert found.videos[0].name == "val/00000.mp4"


def test_names_of_classes_are_optional(cfg, write):
    write({"train.csv": "a.mp4 0\n"})
    assert read_videos("kinetics", cfg, "train").classes is None


@pytest.mark.parametrize(
    "text, words",
    [
        ("one\n\ntwo\n", r"classes.txt: 2 names, but MODEL.NUM_CLASSES is 3; set it to 2"),
        ("one\n\ntwo\none\n", r"classes.txt:4: 'one' is there twice"),
        ("\n", r"classes.txt: holds no class name; write one a line"),
        (b"\xff", r"classes.txt: cannot be read .* not UTF-8"),
    ],
)
def test_bad_names_of_classes(text, words, cfg, write):
    cfg.MODEL.NUM_CLASSES = 3
    write({"train.csv": "a.mp4 0\n", "classes.txt": text})
    with pytest.raises(InputError, match=words) as caught:
        read_videos("kinetics", cfg, "train")
    assert "\n" not in str(caught.value)
