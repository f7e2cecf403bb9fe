import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from mutualvideo.errors import InputError
from mutualvideo.media import VideoReader
from mutualvideo.play.film import film, write_gif
from tests.play.fakes import number_of, numbered, write_numbered


def test_frames_come_back_at_their_times(tmp_path):
    path, times = tmp_path / "film.mp4", [0.0, 0.1, 0.15, 0.9, 1.0]
    with film(path, 29.97) as writer:
        for number, time_s in enumerate(times):
            writer.write(numbered(number), time_s)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
    with VideoReader(path) as reader:
        np.testing.assert_allclose(
            np.subtract(reader.timestamps, reader.timestamps[0]), times, atol=1e-3
        )
        assert [number_of(frame) for frame in reader.read(range(5))] == list(range(5))


def test_frames_that_come_at_once_are_all_there(tmp_path):
    with film(tmp_path / "film.mp4", 30) as writer:
        for number, time_s in enumerate((0.0, 0.000001, 0.000002, 0.5)):
            writer.write(numbered(number), time_s)
    with VideoReader(tmp_path / "film.mp4") as reader:
        assert len(reader) == 4


def test_a_gif_shows_the_film(tmp_path):
    # 3 s at 20 fps: 30 pictures, a tenth of a second each.
    times = [number / 20 for number in range(60)]
    mp4 = write_numbered(tmp_path / "a.mp4", times, (240, 640))
    size = write_gif(mp4, tmp_path / "a.gif")
    assert size == (tmp_path / "a.gif").stat().st_size <= 4_000_000
    with Image.open(tmp_path / "a.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["loop"]) == (30, (480, 180), 0)
        shown = []
        for picture in ImageSequence.Iterator(gif):
            shown.append(number_of(np.asarray(picture.convert("RGB"))))
            assert picture.info["duration"] == 100
    # What is on screen at 0, 0.1, 0.2 ...
    assert shown == list(range(0, 60, 2))


def test_a_gif_is_made_to_fit_or_refused(tmp_path):
    rng = np.random.default_rng(0)
    with film(tmp_path / "noise.mp4", 10) as writer:
        for number in range(10):
            writer.write(rng.integers(0, 256, (100, 500, 3), np.uint8), number / 10)
    full = write_gif(tmp_path / "noise.mp4", tmp_path / "full.gif")
    assert write_gif(tmp_path / "noise.mp4", tmp_path / "half.gif", full // 2) <= full // 2
    with pytest.raises(InputError, match=r"tiny.gif.*noise.mp4 need \d+ bytes.*more than 1000"):
        write_gif(tmp_path / "noise.mp4", tmp_path / "tiny.gif", 1000)
    assert not (tmp_path / "tiny.gif").exists()


def test_long_films_make_no_gif(tmp_path):
    mp4 = write_numbered(tmp_path / "long.mp4", [0, 30, 61])
    with pytest.raises(InputError, match="60 s at most"):
        write_gif(mp4, tmp_path / "long.gif")
