"""``evaluate --run``: which checkpoint, where to, and what is left of it for the next command."""

import shutil

import pytest
import torch
import yaml

from mutualvideo import QueryTable
from mutualvideo.commands.command_line import main
from mutualvideo.commands.running import run_net
from mutualvideo.config import load_cfg
from mutualvideo.errors import InputError
from mutualvideo.runtime import AdaptiveRecognizer
from tests.engine.conftest import KEYS, one_thread, video_folder  # noqa: F401  (fixtures)
from tests.networks import make_cfg


@pytest.fixture(scope="module")
def trained(tmp_path_factory, video_folder):  # noqa: F811
    """A run of two epochs, with a checkpoint of each."""
    folder = tmp_path_factory.mktemp("run") / "out"
    paths = {"DATA__PATH_TO_DATA_DIR": video_folder, "OUTPUT_DIR": folder}
    few = {"TABLE__FRAMES": [4], "TRAIN__CHECKPOINT_PERIOD": 1, "SOLVER__MAX_EPOCH": 2}
    run_net(make_cfg("X3D", **{**KEYS, **paths, **few}))
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def checkpoint_of(folder):
    return QueryTable.load_json(folder / "query_table.json").metadata["checkpoint"]


def epochs(folder):
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_a_checkpoint_that_was_named_once_is_not_the_next_ones(run, tmp_path, monkeypatch):
    before = (run / "config.yaml").read_bytes()
    first, second = epochs(run)
    assert checkpoint_of(run).endswith(second)
    monkeypatch.chdir(run)
    main(["evaluate", "--run", str(run), "--checkpoint", f"checkpoints/{first}"])
    assert checkpoint_of(run).endswith(first)
    assert (run / "config.yaml").read_bytes() == before
    monkeypatch.chdir(tmp_path)
    main(["evaluate", "--run", str(run), "TABLE.WIDTHS", "[1.0]"])
    assert checkpoint_of(run).endswith(second)
    assert len(QueryTable.load_json(run / "query_table.json")) == 1
    main(["evaluate", "--run", str(run)])
    assert len(QueryTable.load_json(run / "query_table.json")) == 2
    assert yaml.safe_load(before)["TRAIN"]["ENABLE"] is True


def test_results_may_go_to_another_folder(run, tmp_path):
    other = tmp_path / "other"
    main(["evaluate", "--run", str(run), "TEST.NUM_ENSEMBLE_VIEWS", "1", "OUTPUT_DIR", str(other)])
    assert (other / checkpoint_of(other)).resolve() == (run / "checkpoints" / epochs(run)[-1])
    assert not (other / "checkpoints").exists()
    cfg = load_cfg(other / "config.yaml")
    assert not cfg.TRAIN.ENABLE and cfg.TEST.NUM_ENSEMBLE_VIEWS == 1
    # That folder is evaluated again as it was.
    main(["evaluate", "--run", str(other)])
    assert QueryTable.load_json(other / "query_table.json").metadata["views"] == "1x1"


@pytest.mark.parametrize(
    "command, arguments, named",
    [
        ("evaluate", ["TABLE.WIDTHS", "[0.1]"], "width 0.1"),
        ("evaluate", ["--checkpoint", "nothing.pyth"], "nothing.pyth"),
        ("evaluate", ["X3D.DIM_C5", "32"], "another architecture"),
        ("train", ["X3D.DIM_C5", "32", "SOLVER.MAX_EPOCH", "3"], "another architecture"),
    ],
)
def test_what_is_refused_leaves_the_configuration(run, command, arguments, named):
    before = (run / "config.yaml").read_bytes()
    which = ["--run", str(run)]
    if command == "train":
        which = ["--cfg", str(run / "config.yaml")]
        arguments = [*arguments, "OUTPUT_DIR", str(run)]
    with pytest.raises(InputError, match=named):
        main([command, *which, *arguments])
    assert (run / "config.yaml").read_bytes() == before


def write_lists(data, train, val):
    for split, names in (("train", train), ("val", val)):
        (data / f"{split}.csv").write_text("".join(f"{n}.mp4 {int(n) % 2}\n" for n in names))


@pytest.fixture
def on_lists(video_folder, tmp_path):  # noqa: F811
    """Trains to so many epochs on six videos; names are digits."""
    data = tmp_path / "data"
    shutil.copytree(video_folder, data)
    paths = {"DATA__PATH_TO_DATA_DIR": data, "OUTPUT_DIR": tmp_path / "out"}
    few = {"TRAIN__BATCH_SIZE": 2, "TABLE__FRAMES": [4], "TABLE__WIDTHS": [1.0]}

    def train(epochs, train, val):
        write_lists(data, train, val)
        run_net(make_cfg("X3D", **{**KEYS, **paths, **few, "SOLVER__MAX_EPOCH": epochs}))
        return tmp_path / "out"

    return train


def test_lists_that_change_are_told_of(on_lists, caplog):
    """What was once trained on and is evaluated on now, too."""
    on_lists(1, "012345", "67")
    assert "trained on" not in caplog.text
    out = on_lists(2, "123457", "06")
    assert "another list: 1 videos are new, 1 are gone" in caplog.text
    assert "trained on 1 of the 2 videos to evaluate on (such as 0.mp4)" in caplog.text
    caplog.clear()
    main(["evaluate", "--run", str(out)])
    assert "another list" not in caplog.text and "trained on 1 of the 2 videos" in caplog.text
    caplog.clear()
    on_lists(3, "754321", "6")
    assert "0 videos are new, 0 are gone, and their order is another" in caplog.text
    assert "videos to evaluate on" not in caplog.text


@pytest.mark.parametrize("train, anew", [("012345", False), ("012347", True)])
def test_an_epoch_on_another_list_begins_anew(on_lists, caplog, train, anew):
    out = on_lists(1, "012345", "6")
    path = out / "checkpoints" / "checkpoint_epoch_00001.pyth"
    content = torch.load(path, weights_only=True)
    content["progress"] |= {"step": 2, "clips": 4}
    torch.save(content, path.with_name("checkpoint_epoch_00001_step_000002.pyth"))
    caplog.clear()
    on_lists(2, train, "6")
    assert f"1 epochs and {0 if anew else 2} steps done" in caplog.text
    assert ("epoch 2 begins anew" in caplog.text) is anew


def test_statistics_of_another_table_are_refused(run):
    """Written before the table: an evaluation may be ended between the two."""
    AdaptiveRecognizer(run, device="cpu")
    path = run / "query_table.bn.pyth"
    content = torch.load(path, weights_only=True)
    torch.save({**content, "more": 1}, path)
    with pytest.raises(InputError, match="query_table.bn.pyth: these are not the statistics"):
        AdaptiveRecognizer(run, device="cpu")
