"""Which run answers where none is named."""

import os

import pytest

from mutualvideo.commands.latest_run import latest_run
from mutualvideo.errors import InputError


def run_at(place, age_s):
    place.mkdir(parents=True)
    table = place / "query_table.json"
    table.write_text("{}")
    os.utime(table, (1e9 - age_s, 1e9 - age_s))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_newest_of_several_is_named(tmp_path, capsys):
    for name, age_s in (("old", 30), ("new", 10), ("older", 50)):
        run_at(tmp_path / "output" / name, age_s)
    # No runs: films, and a training that goes on.
    (tmp_path / "output" / "demo").mkdir()
    (tmp_path / "output" / "going_on" / "checkpoints").mkdir(parents=True)
    assert latest_run() == "output/new"
    out, err = capsys.readouterr()
    assert not out and err == "--run output/new: the newest of 3 runs in output\n"


@pytest.mark.parametrize("place", ["output", "output/toy"])
def test_one_alone_needs_no_word(tmp_path, capsys, place):
    run_at(tmp_path / place, 0)
    assert latest_run() == place and capsys.readouterr() == ("", "")


@pytest.mark.parametrize("made", ["", "output/film"])
def test_there_is_none(tmp_path, made):
    (tmp_path / made).mkdir(parents=True, exist_ok=True)
    with pytest.raises(InputError, match="no run with a query_table.json in output: name one by"):
        latest_run()
