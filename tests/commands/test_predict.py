"""``mutualvideo predict``: files in, a line each, one CSV over all."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from mutualvideo import AdaptiveRecognizer, InputError, Subnet
from mutualvideo.commands.command_line import main
from mutualvideo.data.sampling import clip_indices
from mutualvideo.media import VideoReader
from mutualvideo.table.query import QueryTable
from tests.runtime.conftest import (  # noqa: F401  (fixtures)
    UNCALIBRATED,
    one_thread,
    run_dir,
    tiny_cfg,
    write_video,
)


@pytest.fixture
def videos(write_video, tmp_path):  # noqa: F811
    """Two videos, one in a folder beside a file that is none."""
    folder = tmp_path / "videos" / "deep"
    folder.mkdir(parents=True)
    alone = write_video("alone.mp4", 40)
    write_video("b.mp4", 30).rename(folder / "b.mp4")
    (folder / "c.mp4").write_text("not a video")
    (folder / "notes.txt").write_text("nothing")
    return alone, tmp_path / "videos"


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_one_csv_over_all(run_dir, videos, tmp_path, capsys):  # noqa: F811
    out = tmp_path / "p.csv"
    given = ["predict", *videos, "--run", run_dir, "--budget", "1G", "--output", out]
    assert main([*map(str, given)]) == 1
    found, error = capsys.readouterr()
    alone, deep, bad = read(out)
    assert "c.mp4" in error and "error: " in error and error.count("\n") == 1
    assert bad["path"].endswith("c.mp4") and bad["error"] and not bad["label"]
    assert [line.split(":")[0] for line in found.splitlines()] == [
        alone["path"],
        deep["path"],
        f"wrote {out}",
    ]
    recognizer = AdaptiveRecognizer(run_dir)
    recognizer.set_budget("1G")
    for row in (alone, deep):
        expected = recognizer.predict(row["path"])
        names = recognizer.class_names
        scores = [float(row[name]) for name in names]
        assert scores == pytest.approx(expected.scores[0].tolist(), abs=1e-3)
        assert row["label"] == expected.labels[0] == names[int(np.argmax(scores))]
        assert row["subnet"] == str(expected.subnet) and int(row["macs"]) == expected.macs


def test_json_lines_and_no_budget_is_the_full_network(run_dir, videos, tmp_path, capsys):  # noqa: F811
    # The table's dearest row, whichever budget there might be.
    full = max((row for row in QueryTable.load_json(run_dir / "query_table.json")), key=cost).subnet
    given = ["predict", videos[0], "--run", run_dir, "--json", "--output", tmp_path / "p.csv"]
    assert main([*map(str, given), "--views", "3"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert Subnet.parse(found["subnet"]) == full
    assert found["label"] == found["classes"][int(np.argmax(found["probabilities"]))]
    assert sum(found["probabilities"]) == pytest.approx(1, abs=1e-4)


def cost(row):
    return row.macs


def test_a_path_is_the_clip_in_the_middle(run_dir, videos):  # noqa: F811
    recognizer = AdaptiveRecognizer(run_dir)
    recognizer.set_budget("1G")
    data = recognizer.cfg.DATA
    with VideoReader(videos[0]) as reader:
        shape = data.NUM_FRAMES, data.SAMPLING_RATE, data.TARGET_FPS
        frames = reader.read(clip_indices(len(reader), reader.fps, *shape, 0.5))
    expected = recognizer.predict(frames).scores
    for path in (videos[0], str(videos[0])):
        assert recognizer.predict(path).scores == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    "given, words",
    [
        (["nowhere.mp4"], "nowhere.mp4: no such file or folder"),
        (["EMPTY"], "empty: holds no video"),
        (["PICTURE"], "is a picture, and this takes video"),
        (["VIDEO", "--views", "0"], "views 0: must be an integer from 1 to 1000"),
        (["VIDEO", "--budget", "1K"], "below the cheapest sub-network"),
        (["VIDEO", "--budget", "cheap"], "'cheap'"),
    ],
)
def test_bad_input(run_dir, videos, tmp_path, given, words):  # noqa: F811
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "._hidden.mp4").touch()
    Image.new("RGB", (48, 48)).save(tmp_path / "a.png")
    names = {"EMPTY": tmp_path / "empty", "VIDEO": videos[0], "PICTURE": tmp_path / "a.png"}
    given = [str(names.get(one, one)) for one in given]
    out = tmp_path / "p.csv"
    with pytest.raises(InputError) as caught:
        main(["predict", *given, "--run", str(run_dir), "--output", str(out)])
    assert words in str(caught.value) and not out.exists()


def test_features_and_maps_beside_the_csv(run_dir, videos, tmp_path):  # noqa: F811
    archive, maps = tmp_path / "f.npz", tmp_path / "maps"
    given = ["predict", *videos, "--run", run_dir, "--budget", "1G", "--output", tmp_path / "p.csv"]
    assert main([*map(str, given), "--features", str(archive), "--explain", str(maps)]) == 1
    alone, deep, _ = read(tmp_path / "p.csv")
    recognizer = AdaptiveRecognizer(run_dir)
    subnet = recognizer.set_budget("1G").subnet
    with np.load(archive) as found:
        assert found["paths"].tolist() == [alone["path"], deep["path"]]
        assert str(found["subnet"]) == str(subnet)
        assert found["classes"].tolist() == list(recognizer.class_names)
        for path, features, scores in zip(
            found["paths"], found["features"], found["scores"], strict=True
        ):
            expected = recognizer.predict(str(path), features=True)
            np.testing.assert_allclose(features, expected.features[0], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(scores, expected.scores[0], atol=1e-6)
    assert sorted(path.name for path in maps.iterdir()) == ["alone.mp4", "b.mp4"]
    with VideoReader(maps / "alone.mp4") as reader:
        assert len(reader) == subnet.frames
        assert reader.read([0]).shape[1:3] == (subnet.size, subnet.size)
