"""What a detector finds, drawn on pictures and videos."""

import json

import numpy as np
import pytest
from PIL import Image

from mutualvideo import InputError
from mutualvideo.media import VideoReader
from mutualvideo.media.encode import VideoWriter
from mutualvideo.play.boxes import draw_files, with_boxes
from mutualvideo.runtime.detections import Detections
from mutualvideo.subnet import Subnet
from mutualvideo.table.row import Row

ROW = Row(Subnet.of("1x64"), 10, 5, box_ap=50.0)
NAMES = ("background", "ring", "flag")


def found(masks=None):
    boxes = np.array([[4, 6, 20, 18], [10, 10, 30, 30]], np.float32)
    scores = np.array([0.9, 0.4], np.float32)
    labels = np.array([1, 2])
    return Detections(boxes, labels, scores, NAMES[1:], NAMES, ROW, 1.0, 2.0, masks)


class Detector:
    def predict(self, pixels):
        assert pixels.dtype == np.uint8 and pixels.shape == (41, 60, 3) or pixels.shape[2] == 3
        return found()


def test_edges_of_boxes_are_coloured_and_the_picture_is_left_alone():
    pixels = np.full((40, 60, 3), 128, np.uint8)
    drawn = with_boxes(pixels, found())
    assert (pixels == 128).all() and drawn.shape == pixels.shape
    for x, y in ((4, 17), (20, 18), (30, 29), (29, 30)):
        assert (drawn[y, x] != 128).any()
    assert (drawn[38:, :] == 128).all()
    assert (with_boxes(pixels, found().above(0.95)) == 128).all()
    masks = np.zeros((2, 40, 60), bool)
    masks[0, 35:39, 50:55] = True
    assert (with_boxes(pixels, found(masks))[36, 52] != 128).any()


def test_pictures_and_videos_are_copied_with_boxes(tmp_path):
    picture = np.full((40, 60, 3), 128, np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    with VideoWriter(tmp_path / "b.mp4", 10) as writer:
        for _ in range(3):
            writer.write(picture)
    lines = [json.loads(x) for x in draw_files(Detector(), [tmp_path], tmp_path / "out", 0.5)]
    assert [line.get("time_s") for line in lines] == [None, 0.0, 0.1, 0.2]
    wanted = {"name": "ring", "score": 0.9, "box": [4, 6, 20, 18]}
    assert all(line["objects"] == [wanted] and line["subnet"] == "1x64" for line in lines)
    with Image.open(tmp_path / "out" / "a.png") as drawn:
        assert np.array_equal(np.asarray(drawn), with_boxes(picture, found().above(0.5)))
    with VideoReader(tmp_path / "out" / "b.mp4") as reader:
        assert len(reader.timestamps) == 3


def test_boxes_are_of_the_files_pixels(tmp_path):
    with VideoWriter(tmp_path / "large.mp4", 10) as writer:
        writer.write(np.zeros((1080, 1920, 3), np.uint8))

    class WholeFrame:
        def predict(self, pixels):
            height, width, _ = pixels.shape
            whole = np.array([[0, 0, width, height]], np.float32)
            one = np.array([0.9], np.float32), ("ring",), NAMES, ROW, 1.0, 2.0, None
            return Detections(whole, np.array([1]), *one)

    (line,) = draw_files(WholeFrame(), [tmp_path / "large.mp4"], tmp_path / "out", 0.5)
    assert json.loads(line)["objects"][0]["box"] == [0, 0, 1920, 1080]
    with VideoReader(tmp_path / "out" / "large.mp4") as reader:
        assert reader.read([0]).shape == (1, 1080, 1920, 3)


@pytest.mark.parametrize("name", ["a.png", "b.mp4"])
def test_no_file_is_drawn_over(tmp_path, name):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with VideoWriter(tmp_path / "b.mp4", 10) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8))
    before = (tmp_path / name).read_bytes()
    with pytest.raises(InputError, match=f"{name}: is one of the files to draw on"):
        list(draw_files(Detector(), [tmp_path / name], tmp_path, 0.5))
    assert (tmp_path / name).read_bytes() == before


def test_a_file_that_cannot_be_read_does_not_end_it(tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    Image.new("RGB", (60, 40)).save(tmp_path / "d.png")
    (tmp_path / "b.jpg").write_text("no picture")
    (tmp_path / "c.mp4").write_text("no video")
    (tmp_path / "._a.png").write_text("what macOS leaves")
    lines = [json.loads(x) for x in draw_files(Detector(), [tmp_path], tmp_path / "out", 0.5)]
    names = [line["path"].rpartition("/")[2] for line in lines]
    assert names == ["a.png", "b.jpg", "c.mp4", "d.png"]
    assert ["error" in line for line in lines] == [False, True, True, False]
    assert "b.jpg: " in lines[1]["error"] and "c.mp4: " in lines[2]["error"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "d.png"]


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_is_a_score(tmp_path, threshold):
    with pytest.raises(InputError, match="threshold .*: scores are from 0 to 1"):
        list(draw_files(Detector(), [tmp_path], tmp_path / "out", threshold))


def test_what_cannot_be_drawn_is_named(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    for paths, words in (
        ([tmp_path / "none.png"], "none.png: no such file"),
        ([tmp_path / "a.png", tmp_path / "a.jpg"], "another file would become .*a.png too"),
    ):
        with pytest.raises(InputError, match=words):
            list(draw_files(Detector(), paths, tmp_path / "out", 0.5))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no picture and no video"):
        list(draw_files(Detector(), [tmp_path / "empty"], tmp_path / "out", 0.5))
