"""``mutualvideo evaluate`` of a run that was moved, ``mutualvideo serve``, bad arguments."""

import json
import sys
from types import SimpleNamespace

import pytest

from mutualvideo import InputError, QueryTable
from mutualvideo.commands.command_line import main
from tests.engine.conftest import one_thread, tiny, video_folder  # noqa: F401  (fixtures)
from tests.runtime.conftest import run_dir, tiny_cfg  # noqa: F401  (fixtures)


def call(*arguments):
    return main([str(argument) for argument in arguments])


def test_a_run_that_was_moved(tiny, tmp_path):  # noqa: F811
    cfg = tiny(OUTPUT_DIR=tmp_path / "run", SOLVER__MAX_EPOCH=1, TEST__ENABLE=False)
    (tmp_path / "tiny.yaml").write_text(cfg.dump())
    call("train", "--cfg", tmp_path / "tiny.yaml")
    assert not (tmp_path / "run" / "results.json").exists()
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    call("evaluate", "--run", moved, "TABLE.SUBNETS", "['1x4x40']", "TABLE.WIDTHS", "[]")
    table = QueryTable.load_json(moved / "query_table.json")
    assert table["1x4x40"].top1 is not None and not (tmp_path / "run").exists()
    results = json.loads((moved / "results.json").read_text())
    assert results["checkpoint"] == "checkpoints/checkpoint_epoch_00001.pyth"


@pytest.mark.parametrize(
    "given, words",
    [
        (["--run", "none"], "none: holds no config.yaml: name the OUTPUT_DIR of a run"),
        (["--cfg", "Toy/X3D_mutual", "TEST.ENABLE"], "TEST.ENABLE: this override has no value"),
    ],
)
def test_bad_input(given, words):
    with pytest.raises(InputError) as caught:
        call("evaluate", *given)
    assert words in str(caught.value)


def test_serve_is_the_page(run_dir, monkeypatch):  # noqa: F811
    served = []
    page = SimpleNamespace(serve=lambda *given, **more: served.append(given))
    monkeypatch.setitem(sys.modules, "mutualvideo.web.app", page)
    call("serve", "--run", run_dir, "--port", "7999")
    ((recognizer, samples, _, host, port, _),) = served
    assert recognizer.table.full() and (samples, host, port) == ({}, "127.0.0.1", 7999)
