"""MODEL.NUM_CLASSES 0: as many as the data have."""

import pytest
from PIL import Image

from mutualvideo.config import get_cfg, trace_run
from mutualvideo.data.annotations import Video
from mutualvideo.data.class_count import class_weights, settle_classes
from mutualvideo.errors import InputError


@pytest.fixture
def cfg(tmp_path):
    cfg = get_cfg()
    cfg.DATA.PATH_TO_DATA_DIR, cfg.MODEL.NUM_CLASSES = str(tmp_path), 0
    return cfg


HEADER = "original_vido_id video_id frame_id path labels\n"
LISTS = {
    "kinetics": ({"train.csv": "a.mp4 0\nb.mp4 4\n"}, 5),
    "kinetics, named": ({"train.csv": "a.mp4 0\n", "classes.txt": "one\ntwo\nthree\n"}, 3),
    "toy": ({"train.csv": "a.mp4 1\n"}, 2),
    "charades": ({"train.csv": f'{HEADER}A 0 0 A/1.jpg "3"\nB 1 0 B/1.jpg "0"\n'}, 4),
    "ucf101": ({"trainlist01.txt": "A/a.avi 1\n", "classInd.txt": "1 A\n2 B\n3 C\n"}, 3),
    "hmdb51": (
        {"climb_test_split1.txt": "a.avi 1 \n", "run_test_split1.txt": "b.avi 1 \n"},
        2,
    ),
    "ssv2": (
        {
            "labels.json": '{"Holding": "0", "Moving": "1"}',
            "train.json": '[{"id": "1", "label": "h", "template": "Holding"}]',
            "20bn-something-something-v2/1.webm": "",
        },
        2,
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_every_source_tells_how_many_classes_there_are(cfg, tmp_path, name):
    files, count = LISTS[name]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    cfg.TRAIN.DATASET = name.partition(",")[0]
    assert settle_classes(cfg).MODEL.NUM_CLASSES == count
    assert cfg.MODEL.NUM_CLASSES == 0


def test_folders_of_pictures_do_too(cfg, tmp_path):
    cfg.TRAIN.DATASET, cfg.MODEL.MODEL_NAME = "imagefolder", "MobileNetV1"
    for name in "abc":
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "train" / name / "1.png")
    assert settle_classes(cfg).MODEL.NUM_CLASSES == 3


def test_a_number_that_was_given_holds(cfg):
    cfg.MODEL.NUM_CLASSES = 7
    assert settle_classes(cfg) is cfg


def test_labels_that_count_from_one_are_told_of(cfg, tmp_path, caplog):
    (tmp_path / "train.csv").write_text("a.mp4 1\nb.mp4 2\n")
    with caplog.at_level("WARNING"):
        assert settle_classes(cfg).MODEL.NUM_CLASSES == 3
    assert "1 of 3 classes have no video (0); labels count from 0" in caplog.text


def test_one_class_is_nothing_to_tell_apart(cfg, tmp_path):
    (tmp_path / "train.csv").write_text("a.mp4 0\nb.mp4 0\n")
    with pytest.raises(InputError, match="train.csv: all of its videos are of one class"):
        settle_classes(cfg)


def test_what_a_run_does_not_say_follows_from_the_data(tmp_path):
    cfg, origins = trace_run(None, [])
    assert cfg.MODEL.NUM_CLASSES == 0
    assert origins["MODEL.NUM_CLASSES"] == "as many as the data have"
    assert trace_run(None, ["MODEL.NUM_CLASSES", "400"])[0].MODEL.NUM_CLASSES == 400


def test_labels_that_all_videos_have_are_trained(cfg):
    cfg.DATA.MULTI_LABEL, cfg.MODEL.NUM_CLASSES = True, 3
    cfg.MODEL.CLASS_WEIGHTS = "balanced"
    videos = [Video("a", 0, 1, several=(0, 1)), Video("b", 0, 2), Video("c", 0, 3)]
    assert class_weights(cfg, videos).tolist() == [1, 2, 1]
