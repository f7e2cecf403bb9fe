"""A table that was made with other values than the network was trained with."""

import shutil

import pytest

from mutualvideo import AdaptiveRecognizer, QueryTable
from mutualvideo.errors import InputError
from mutualvideo.export import open_origin
from mutualvideo.runtime.manifest import data_section
from mutualvideo.table.feeding import feeding

OTHERS = {
    "SAMPLING_RATE": 5,
    "TARGET_FPS": 15,
    "TEST_CROP_SIZE": 32,
    "TEST_CROP_SHARE": 0.5,
    "MEAN": [0.1, 0.1, 0.1],
    "STD": [0.5, 0.5, 0.5],
}


@pytest.fixture
def told(run, tmp_path):
    """The run's folder, whose table says what clips were fed as."""

    def build(data):
        folder = shutil.copytree(run, tmp_path / "run", dirs_exist_ok=True)
        table = QueryTable.load_json(folder / "query_table.json")
        table.metadata["data"] = data
        table.save_json(folder / "query_table.json")
        return folder

    return build


def test_what_the_table_was_made_with_is_what_it_runs_with(told, tiny_cfg):
    assert feeding(tiny_cfg)["SAMPLING_RATE"] == 2
    folder = told(OTHERS)
    with AdaptiveRecognizer(folder) as recognizer:
        assert feeding(recognizer.cfg) == OTHERS
        assert recognizer.cfg.DATA.NUM_FRAMES == tiny_cfg.DATA.NUM_FRAMES
    assert data_section(open_origin(folder).cfg) == {"NUM_FRAMES": 6, **OTHERS}


def test_tables_of_before_run_as_the_network_was_trained(run, tiny_cfg):
    with AdaptiveRecognizer(run) as recognizer:
        assert feeding(recognizer.cfg) == feeding(tiny_cfg)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ([], "metadata 'data' is"),
        ({"SAMPLING_RATE": 5}, "metadata 'data' is"),
        ({**OTHERS, "SAMPLING_RATE": 0}, "'data' has SAMPLING_RATE 0"),
        ({**OTHERS, "TARGET_FPS": True}, "'data' has TARGET_FPS"),
        ({**OTHERS, "MEAN": ["a"]}, "'data' has MEAN"),
    ],
)
def test_values_that_are_none(told, data, named):
    with pytest.raises(InputError, match=named):
        AdaptiveRecognizer(told(data))
