import pytest

from mutualvideo.data.sources import read_videos
from mutualvideo.errors import InputError
from tests.data.videos import encode

# Names of the real data set have such characters, and its lines end in a blank.
ODD = "#437_How_To_&_(Rad)Bank!_[x];'climb_f_cm_np1_ba_med_0.avi"
SPLITS = "testTrainMulti_7030_splits"
# The order of the class names is not that of the file names: '_' comes before 's'.
LISTS = {
    "climb_test_split1.txt": f"{ODD} 1 \nb.avi 2 \nc.avi 0 \n",
    "climb_stairs_test_split1.txt": "a.avi 2 \nd.avi 1 \n",
    "climb_test_split2.txt": f"{ODD} 2 \nb.avi 1 \nc.avi 0 \n",
    "climb_stairs_test_split2.txt": "a.avi 0 \nd.avi 0 \n",
    "._climb_test_split1.txt": b"\x00\x05\x16\x07",
}


@pytest.fixture
def lists(write, cfg):
    write({f"{SPLITS}/{name}": text for name, text in LISTS.items()})
    cfg.MODEL.NUM_CLASSES = 2


@pytest.mark.parametrize("videos", ["", "hmdb51_org", "elsewhere"])
def test_clips(lists, videos, cfg, clips, tmp_path):
    for name in (f"climb/{ODD}", "climb/b.avi", "climb_stairs/a.avi", "climb_stairs/d.avi"):
        path = tmp_path / videos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        encode(path, range(0, 30, 3), codec="mpeg4")
    if videos == "elsewhere":
        cfg.DATA.PATH_PREFIX = str(tmp_path / videos)
    assert clips("hmdb51", "train") == {0: 0, 1: 1}
    assert clips("hmdb51", "val") == clips("hmdb51", "test") == {0: 0, 1: 1}
    cfg.DATA.SPLIT = 2
    assert clips("hmdb51", "test") == {0: 0}


def test_the_list(lists, cfg, tmp_path):
    found = read_videos("hmdb51", cfg, "train")
    assert found.classes == ["climb", "climb_stairs"]
    assert found.origin == f"{tmp_path}/{SPLITS}/*_test_split1.txt"
    assert [(v.name, v.label, v.line) for v in found.videos] == [
        (f"climb/{ODD}", 0, 1),
        ("climb_stairs/d.avi", 1, 2),
    ]
    assert found.videos[0].path == str(tmp_path / "climb" / ODD)
    assert [v.name for v in read_videos("hmdb51", cfg, "val").videos] == [
        "climb/b.avi",
        "climb_stairs/a.avi",
    ]


def test_lists_without_a_folder_of_their_own(write, cfg):
    write(LISTS)
    cfg.MODEL.NUM_CLASSES = 2
    assert len(read_videos("hmdb51", cfg, "train").videos) == 2


CLIMB = "climb_test_split1.txt"


@pytest.mark.parametrize(
    "files, words",
    [
        ({CLIMB: ""}, r"climb_test_split1.txt: holds no video"),
        ({CLIMB: b"\xff 1"}, r"climb_test_split1.txt: cannot be read .* not UTF-8"),
        ({CLIMB: "a.avi 1\nb.avi\n"}, r"climb_test_split1.txt:2: no use in 'b.avi'"),
        ({CLIMB: "a.avi 3\n"}, r"climb_test_split1.txt:1: no use in"),
        ({CLIMB: "1\n"}, r"climb_test_split1.txt:1: no use in"),
        ({CLIMB: None}, r"\*_test_split1.txt: 1 names, but MODEL.NUM_CLASSES is 2; set it to 1"),
        (
            {CLIMB: "a.avi 2\n", "climb_stairs_test_split1.txt": "d.avi 0\n"},
            r"\*_test_split1.txt: no video is marked 1",
        ),
        (
            {CLIMB: None, "climb_stairs_test_split1.txt": None},
            r"holds no list CLASS_test_split1.txt; point DATA.PATH_TO_DATA_DIR",
        ),
    ],
)
def test_bad_lists(files, words, write, cfg):
    write(LISTS)
    write(files)
    cfg.MODEL.NUM_CLASSES = 2
    with pytest.raises(InputError, match=words) as caught:
        read_videos("hmdb51", cfg, "train")
    assert "\n" not in str(caught.value)


def test_no_folder_and_no_such_split(lists, cfg):
    cfg.DATA.SPLIT = 4
    with pytest.raises(InputError, match="DATA.SPLIT is 4"):
        read_videos("hmdb51", cfg, "train")
    cfg.DATA.SPLIT, cfg.DATA.PATH_TO_DATA_DIR = 1, "/absent"
    with pytest.raises(InputError, match="/absent: no folder of lists"):
        read_videos("hmdb51", cfg, "train")
