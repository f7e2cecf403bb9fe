import pytest

from mutualvideo.data.sources import read_videos
from mutualvideo.errors import InputError
from tests.data.videos import encode

# As in the official archive, with its line endings.
LISTS = {
    "classInd.txt": "1 ApplyEyeMakeup\r\n2 Archery\r\n3 HandstandPushups\r\n\r\n",
    "trainlist01.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\r\n"
    "HandstandPushups/v_HandStandPushups_g08_c01.avi 3\r\n",
    "testlist01.txt": "Archery/v_Archery_g01_c01.avi\r\n",
    "trainlist03.txt": "Archery/v_Archery_g01_c01.avi 2\r\n",
    "testlist03.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi\r\n",
}


@pytest.fixture(params=["", "ucfTrainTestlist"])
def lists(request, write, cfg):
    """Where the lists are."""
    write(
        {f"{request.param}/{name}" if request.param else name: text for name, text in LISTS.items()}
    )
    cfg.MODEL.NUM_CLASSES = 3
    return request.param


def _encode(folder):
    for name in (
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi",
        "Archery/v_Archery_g01_c01.avi",
        "HandstandPushups/v_HandStandPushups_g08_c01.avi",
    ):
        path = folder / name
        path.parent.mkdir(parents=True)
        encode(path, range(0, 30, 3), codec="mpeg4")


@pytest.mark.parametrize("videos", ["", "UCF-101", "elsewhere"])
def test_clips(lists, videos, cfg, clips, tmp_path):
    _encode(tmp_path / videos)
    if videos == "elsewhere":
        cfg.DATA.PATH_PREFIX = str(tmp_path / videos)
    assert clips("ucf101", "train") == {0: 0, 1: 2}
    assert clips("ucf101", "val") == clips("ucf101", "test") == {0: 1}
    cfg.DATA.SPLIT = 3
    assert clips("ucf101", "train") == {0: 1}
    assert clips("ucf101", "test") == {0: 0}


def test_the_list(lists, cfg, tmp_path):
    found = read_videos("ucf101", cfg, "train")
    assert found.origin == str(tmp_path / lists / "trainlist01.txt")
    assert found.classes == ["ApplyEyeMakeup", "Archery", "HandstandPushups"]
    assert found.mirrored and not found.segments
    second = found.videos[1]
    assert (second.name, second.line) == ("HandstandPushups/v_HandStandPushups_g08_c01.avi", 2)
    assert second.path == str(tmp_path / second.name)


TRAIN, CLASSES = "trainlist01.txt", "classInd.txt"


@pytest.mark.parametrize(
    "files, words",
    [
        ({TRAIN: None}, r"trainlist01.txt: no such file; point DATA.PATH_TO_DATA_DIR"),
        ({TRAIN: "\n"}, r"trainlist01.txt: holds no video; point"),
        ({TRAIN: b"\xff\xfe"}, r"trainlist01.txt: cannot be read .* not UTF-8"),
        ({TRAIN: "Archery/a.avi 2\nArchery/b.avi\n"}, r"trainlist01.txt:2: no label in"),
        ({TRAIN: "Archery/a.avi two\n"}, r"trainlist01.txt:1: the label 'two' is not the index"),
        ({TRAIN: "Archery/a.avi 1\n"}, r"trainlist01.txt:1: .* index of Archery .*, 2;"),
        ({TRAIN: "\nSurfing/a.avi 1\n"}, r"trainlist01.txt:2: the folder 'Surfing' is not a class"),
        ({TRAIN: "a.avi 1\n"}, r"trainlist01.txt:1: the folder 'a.avi' is not a class"),
        ({CLASSES: None}, r"classInd.txt: no such file"),
        ({CLASSES: ""}, r"classInd.txt: holds no class"),
        ({CLASSES: b"\xff"}, r"classInd.txt: cannot be read"),
        ({CLASSES: "1 A\n3 B\n"}, r"classInd.txt:2: expected '2 NAME'"),
        ({CLASSES: "1 A\n2 A\n"}, r"classInd.txt:2: expected '2 NAME' .* of its own"),
        ({CLASSES: "ApplyEyeMakeup\n"}, r"classInd.txt:1: expected '1 NAME'"),
        ({CLASSES: "1 A\n2 B\n"}, r"classInd.txt: 2 names, but MODEL.NUM_CLASSES is 3; set it"),
    ],
)
def test_bad_lists(files, words, write, cfg):
    write(LISTS)
    write(files)
    cfg.MODEL.NUM_CLASSES = 3
    with pytest.raises(InputError, match=words) as caught:
        read_videos("ucf101", cfg, "train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("split", [0, 4])
def test_splits_that_are_not_there(split, write, cfg):
    write(LISTS)
    cfg.MODEL.NUM_CLASSES, cfg.DATA.SPLIT = 3, split
    with pytest.raises(InputError, match=f"DATA.SPLIT is {split}: choose .* 1 to 3"):
        read_videos("ucf101", cfg, "train")
