import json

import numpy as np
import pytest
import torch
from PIL import Image

from mutualvideo.data.annotations import Video
from mutualvideo.data.loader import build_loader
from mutualvideo.data.sources import read_videos
from mutualvideo.engine.needed_lists import read_lists
from mutualvideo.errors import InputError
from mutualvideo.media.reading import open_reader
from mutualvideo.run.distributed import Context
from mutualvideo.runtime.recorded import read_views
from tests.data.videos import encode

HOLDING = "Holding something next to something"
PUTTING = "Putting something similar to other things that are already on the table"
LABELS = {HOLDING: "1", PUTTING: "0"}
TRAIN = [
    {
        "id": "78687",
        "label": "holding potato next to vicks vaporub bottle",
        "template": "Holding [something] next to [something]",
        "placeholders": ["potato", "vicks vaporub bottle"],
    },
    {
        "id": "42326",
        "label": "putting pen",
        "template": "Putting [something similar to other things that are already on the table]",
        "placeholders": ["pen"],
    },
]
VALIDATION = [{**TRAIN[1], "id": "74225"}]
OLD, NEW, BARE = "something-something-v2-{}.json", "labels/{}.json", "{}.json"


@pytest.fixture
def lists(write, cfg):
    cfg.MODEL.NUM_CLASSES = 2

    def lists(names=OLD, **changed):
        content = {"labels": LABELS, "train": TRAIN, "validation": VALIDATION, **changed}
        write({names.format(key): json.dumps(value) for key, value in content.items()})

    return lists


@pytest.mark.parametrize("names", [OLD, NEW, BARE])
@pytest.mark.parametrize("ending", [".webm", ".mp4"])
def test_clips_of_videos(lists, names, ending, cfg, clips, tmp_path):
    lists(names)
    folder = tmp_path / "20bn-something-something-v2"
    folder.mkdir()
    codec = {".webm": "libvpx-vp9", ".mp4": "libx264"}[ending]
    for name in ("78687", "42326", "74225"):
        encode(folder / f"{name}{ending}", range(0, 30, 3), codec=codec)
    assert clips("ssv2", "train") == {0: 1, 1: 0}
    assert clips("ssv2", "val") == clips("ssv2", "test") == {0: 0}
    found = read_videos("ssv2", cfg, "train")
    assert found.videos[1] == Video(str(folder / f"42326{ending}"), 0, 2)
    assert found.videos[1].name == "42326"
    assert found.segments and not found.mirrored
    assert found.classes == [PUTTING, HOLDING]


def _pictures(folder, values, name="img_{:05d}.png"):
    folder.mkdir(parents=True)
    for number, value in enumerate(values, 1):
        Image.new("RGB", (48, 40), (value, 0, 0)).save(folder / name.format(number))


def _reds(video):
    with open_reader(video) as reader:
        return reader.read(range(len(reader)))[:, 0, 0, 0].tolist()


def test_training_draws_a_frame_of_every_segment_and_never_mirrors(lists, cfg, tmp_path):
    lists()
    # 41 pictures: the segments of a clip of 4 begin at 0, 10, 20 and 30. The left half is green.
    for name in ("78687", "42326"):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(41):
            picture = np.zeros((40, 40, 3), np.uint8)
            picture[..., 0], picture[:, :20, 1] = 5 * number, 255
            Image.fromarray(picture).save(folder / f"{number}.png")
    cfg.TRAIN.DATASET, cfg.TRAIN.BATCH_SIZE = "ssv2", 2
    loader = build_loader(cfg, "train")
    found = []
    for epoch in range(20):
        loader.set_epoch(epoch)
        for batch in loader:
            assert not batch["mirror"].any()
            found += (batch["clip"][:, 0, :, 0, 0] // 5).tolist()
    found = np.array(found)
    assert (found >= [0, 10, 20, 30]).all() and (found <= [10, 20, 30, 40]).all()
    assert all(len(set(column)) > 5 for column in found.T)


@pytest.mark.parametrize("prefix", ["", "frames"])
def test_folders_of_pictures(lists, prefix, cfg, tmp_path):
    lists()
    cfg.DATA.PATH_PREFIX = str(tmp_path / prefix) if prefix else ""
    _pictures(tmp_path / prefix / "78687", [10, 20, 30])
    _pictures(tmp_path / prefix / "42326", [40, 50])
    first, second = read_videos("ssv2", cfg, "train").videos
    assert (_reds(first), _reds(second)) == ([10, 20, 30], [40, 50])


def test_pyslowfasts_frame_lists(lists, write, cfg, tmp_path):
    lists()
    # More pictures than the list has, and the list in another order than the JSON.
    _pictures(tmp_path / "frames/42326", [1, 2, 3, 4], "42326_{:06d}.png")
    _pictures(tmp_path / "frames/78687", [5, 6], "78687_{:06d}.png")
    header = "original_vido_id video_id frame_id path labels\n"
    row = '{0} {1} {2} {0}/{0}_{3:06d}.png ""\n'
    rows = [row.format(42326, 0, n, n + 1) for n in range(3)]
    rows += [row.format(78687, 1, n, n + 1) for n in range(2)]
    write({"train.csv": header + "".join(rows)})
    cfg.DATA.PATH_PREFIX = str(tmp_path / "frames")
    first, second = read_videos("ssv2", cfg, "train").videos
    assert (first.name, first.label, first.line) == ("78687", 1, 1)
    assert (_reds(first), _reds(second)) == ([5, 6], [1, 2, 3])
    write({"train.csv": header + "".join(rows[:3])})
    with pytest.raises(InputError, match="train.json: entry 1: .*train.csv has no picture of .*78"):
        read_videos("ssv2", cfg, "train")


def test_a_missing_first_video_does_not_hide_the_layout(lists, cfg, tmp_path):
    lists()
    (tmp_path / "42326.mp4").touch()
    assert [v.path for v in read_videos("ssv2", cfg, "train").videos] == [
        str(tmp_path / "78687.mp4"),
        str(tmp_path / "42326.mp4"),
    ]


def test_nothing_but_lists(lists, cfg, tmp_path):
    lists()
    with pytest.raises(InputError, match=r"train.json: entry 1: .*78687.webm nor .*PATH_PREFIX"):
        read_videos("ssv2", cfg, "train")


def _without(key):
    return [TRAIN[0], {k: v for k, v in TRAIN[1].items() if k != key}]


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"train": {"78687": 1}}, r"v2-train.json: is not a list of videos"),
        ({"train": []}, r"v2-train.json: holds no video"),
        ({"train": _without("id")}, r"v2-train.json: entry 2: has no text 'id'"),
        ({"train": _without("template")}, r"v2-train.json: entry 2: has no text 'template'"),
        ({"train": ["78687"]}, r"v2-train.json: entry 1: has no text 'id'"),
        (
            {"train": [{"id": "5", "template": "Eating [something]"}]},
            r"entry 1 \(id 5\): the template 'Eating something' is not in .*v2-labels.json",
        ),
        ({"labels": []}, r"v2-labels.json: is not a table of labels"),
        ({"labels": {HOLDING: "one"}}, r"v2-labels.json: 'Holding .*': the label 'one' is not an"),
        ({"labels": {HOLDING: None}}, r"v2-labels.json: .*: the label None is not an integer"),
        ({"labels": {HOLDING: "0", PUTTING: "2"}}, r"v2-labels.json: the labels are not 0 .. 1"),
        ({"labels": {HOLDING: "0"}}, r"v2-labels.json: 1 names, but MODEL.NUM_CLASSES is 2; set"),
    ],
)
def test_bad_content(changed, words, lists, cfg):
    lists(**changed)
    with pytest.raises(InputError, match=words) as caught:
        read_videos("ssv2", cfg, "train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "files, words",
    [
        ({OLD.format("labels"): None}, r"v2-labels.json: no such file; point DATA.PATH_TO_DATA_DI"),
        ({OLD.format("train"): None}, r"v2-train.json: no such file"),
        ({OLD.format("train"): "[\n{]\n"}, r"v2-train.json:2: not JSON \(.*download it again"),
        ({OLD.format("train"): ""}, r"v2-train.json:1: not JSON"),
        ({OLD.format("train"): b"\xff"}, r"v2-train.json: cannot be read .* not UTF-8"),
    ],
)
def test_bad_files(files, words, lists, write, cfg):
    lists()
    write(files)
    with pytest.raises(InputError, match=words) as caught:
        read_videos("ssv2", cfg, "train")
    assert "\n" not in str(caught.value)


def test_a_missing_picture_is_named(lists, write, cfg, tmp_path):
    lists(train=TRAIN[:1])
    _pictures(tmp_path / "78687", [5], "78687_{:06d}.png")
    header = "original_vido_id video_id frame_id path labels\n"
    write({"train.csv": f'{header}78687 0 0 78687/78687_000002.png ""\n'})
    (video,) = read_videos("ssv2", cfg, "train").videos
    with pytest.raises(InputError, match="78687_000002.png: no such picture"):
        _reds(video)
    np.testing.assert_equal(video.frames, "78687_000002.png")


@pytest.mark.parametrize("views", [1, 3])
def test_a_recogniser_reads_files_as_evaluation_does(lists, cfg, tmp_path, views):
    lists()
    folder = tmp_path / "20bn-something-something-v2"
    folder.mkdir()
    for name in ("78687", "42326", "74225"):
        encode(folder / f"{name}.mp4", range(0, 90, 3), size=(48, 48))
    cfg.TEST.DATASET, cfg.TEST.NUM_SPATIAL_CROPS = "ssv2", 1
    cfg.TEST.NUM_ENSEMBLE_VIEWS, cfg.TEST.BATCH_SIZE = views, views
    cfg.DATA.TEST_CROP_SIZE, cfg.DATA.NUM_FRAMES = 48, 4
    (batch,) = build_loader(cfg, "test")
    seen = read_views(folder / "74225.mp4", cfg, views, segments=True)
    np.testing.assert_array_equal(seen, batch["clip"].numpy())
    assert not np.array_equal(read_views(folder / "74225.mp4", cfg, views), seen)


def test_there_is_no_continual_form_of_them(lists, cfg, tmp_path):
    lists()
    folder = tmp_path / "20bn-something-something-v2"
    folder.mkdir()
    for name in ("78687", "42326", "74225"):
        encode(folder / f"{name}.mp4", range(0, 30, 3), size=(48, 48))
    cfg.TRAIN.DATASET = cfg.TEST.DATASET = "ssv2"
    cfg.TABLE.CONTINUAL, cfg.TRAIN.BATCH_SIZE = True, 2
    with pytest.raises(InputError, match="spread over the whole video.*TABLE.CONTINUAL False"):
        read_lists(cfg, Context(torch.device("cpu")))
