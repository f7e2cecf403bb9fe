import csv
import threading

import av
import numpy as np
import pytest

from mutualvideo.budget import Budget
from mutualvideo.data.sampling import clip_indices
from mutualvideo.errors import InputError
from mutualvideo.media import VideoReader
from mutualvideo.play import player
from mutualvideo.play.capture import open_source
from mutualvideo.play.live import Live
from mutualvideo.play.player import play
from mutualvideo.policy.budget_script import BudgetScript
from mutualvideo.runtime import AdaptiveRecognizer
from mutualvideo.runtime.clip_window import ClipWindow
from tests.play.fakes import FakeRecognizer, data, number_of, numbered, write_numbered

DEAR, CHEAP = Budget("macs", 1000), Budget("macs", 100)


@pytest.fixture(scope="module")
def recognizer(run_dir):
    return AdaptiveRecognizer(run_dir / "c.pyth", run_dir / "query_table.json", device="cpu")


def lines_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def play_file(recognizer, path, script, output, **options):
    with open_source(path) as source:
        return play(recognizer, source, BudgetScript(script), output, **options)


def steady(count, fps=30):
    return [number / fps for number in range(count)]


@pytest.mark.parametrize("frames", [1, 2, 5, 30, 75])
@pytest.mark.parametrize("stride", [0.1, 0.5, 4.0])
def test_clips_lie_around_what_they_are_shown_on(tmp_path, frames, stride):
    path, fake = write_numbered(tmp_path / "a.mp4", steady(frames)), FakeRecognizer()
    played = play_file(fake, path, [(0.0, DEAR)], tmp_path / "out", stride_s=stride)
    times = np.arange(0, frames / 30 - 1e-9, stride)
    assert [float(line["time_s"]) for line in lines_of(played.csv)] == pytest.approx(list(times))
    # A clip is 12 frames; its middle is the middle of the window, or of its first 12 frames.
    expected = []
    for time_s in times:
        middle = 30 * (time_s + min(stride, 0.4) / 2)
        position = np.clip((middle - 6) / max(frames - 12, 1e-9), 0, 1)
        expected.append(clip_indices(frames, 30.0, 6, 2, 30, float(position)))
    assert [clip for clip in fake.clips] == (expected if frames > 1 else [])
    assert played.frames == frames and played.problem is None


def test_the_budget_changes_in_time(tmp_path):
    path, fake = write_numbered(tmp_path / "a.mp4", steady(75)), FakeRecognizer()
    script = [(0.0, DEAR), (0.7, CHEAP), (1.5, Budget("ms", 8.0)), (9.0, DEAR)]
    played = play_file(fake, path, script, tmp_path / "out", stride_s=0.5)
    lines = lines_of(played.csv)
    # Every half second, and anew from every change on.
    assert [line["time_s"] for line in lines] == (
        ["0.000", "0.500", "0.700", "1.200", "1.500", "2.000"]
    )
    assert [line["subnet"] for line in lines] == ["1x6x40"] * 2 + ["0.5x3x32"] * 2 + ["1x6x40"] * 2
    assert [line["budget"] for line in lines[::2]] == ["1.00K MACs", "100 MACs", "8.0 ms"]
    # Those of parts that were reached.
    assert [(part.macs, part.clips) for part in played.parts] == [(1000, 2), (100, 2), (1000, 2)]
    text = str(played).splitlines()
    assert len(text) == 5 and "b (70 %)" in text[1] and "(75 frames)" in text[-1]


def test_scores_are_smoothed_and_parts_are_averaged(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", steady(60))
    scores = [[0.6, 0.3, 0.1], [0.0, 0.9, 0.1], [0.2, 0.2, 0.6], [0.5, 0.5, 0.0]]
    fake = FakeRecognizer(scores=lambda call: scores[call])
    played = play_file(fake, path, [(0.0, DEAR)], tmp_path / "out", smooth_s=0.8)
    kept, expected = np.exp(-0.5 / 0.8), np.array(scores[0])
    for number, line in enumerate(lines_of(played.csv)):
        if number:
            expected = kept * expected + (1 - kept) * np.array(scores[number])
        written = {line[f"top{rank}"]: float(line[f"score{rank}"]) for rank in (1, 2, 3)}
        assert [written[name] for name in "abc"] == pytest.approx(list(expected), abs=1e-4)
        assert "top4" not in line
    # Plain means of what was answered: 0.325, 0.475, 0.2.
    (part,) = played.parts
    assert part.label == "b" and part.score == pytest.approx(0.475)
    assert part.latency_ms == 3.0


def test_the_film(tmp_path):
    times = steady(40) + [1.5, 1.9, 2.0]
    path = write_numbered(tmp_path / "a.mkv", times, (240, 320))
    played = play_file(FakeRecognizer(), path, [(0.0, DEAR)], tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.csv", "a.mp4"]
    with av.open(str(played.mp4)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
    with VideoReader(played.mp4) as reader:
        np.testing.assert_allclose(
            np.subtract(reader.timestamps, reader.timestamps[0]), times, atol=2e-3
        )
        frames = reader.read(range(len(reader)))
    # 320 x 427 of the picture, the panel beside it, the strip below.
    assert frames.shape[1] > 320 and frames.shape[2] > 427 + 200
    assert [number_of(frame[:320, :427]) for frame in frames] == list(range(43))


def test_answers_are_shown_from_their_time_on(tmp_path, monkeypatch):
    shown = []

    class Spy(player.Overlay):
        def update(self, time_s, status):
            self.scores = dict(status.answers)
            super().update(time_s, status)

        def draw(self, time_s, frame):
            shown.append((time_s, round(self.scores["a"], 2)))
            return super().draw(time_s, frame)

    monkeypatch.setattr(player, "Overlay", Spy)
    path = write_numbered(tmp_path / "a.mp4", steady(60))
    fake = FakeRecognizer(scores=lambda call: [0.1 * (call + 1), 0.5, 0.4])
    play_file(fake, path, [(0.0, DEAR)], tmp_path / "out")
    assert len(shown) == 60
    assert all(score == pytest.approx(0.1 * (1 + int(t / 0.5 + 1e-6))) for t, score in shown)


def test_maps_lie_on_the_frames_and_times_of_their_clips(tmp_path, monkeypatch):
    class Explainer:
        preprocessing, asked = None, []

        def maps(self, subnet, clip, target):
            self.asked.append((str(subnet), number_of(clip[0]), target))
            return clip, np.zeros((1, 1, 1), np.float32)

    drawn = []

    class Spy(player.MapOverTime):
        def over(self, time_s, frame):
            drawn.append((time_s, self.start_s, self.end_s))
            return frame

    monkeypatch.setattr(player, "MapOverTime", Spy)
    path, fake = write_numbered(tmp_path / "a.mp4", steady(60)), FakeRecognizer()
    script = [(0.0, DEAR), (1.0, CHEAP)]
    play_file(fake, path, script, tmp_path / "out", explainer=Explainer())
    # The clip that was recognised, the sub-network that answered, its best class.
    names = ["1x6x40"] * 2 + ["0.5x3x32"] * 2
    assert Explainer.asked == [
        (name, clip[0], 1) for name, clip in zip(names, fake.clips, strict=True)
    ]
    assert len(drawn) == 60
    for time_s, start_s, end_s in drawn:
        assert end_s - start_s == pytest.approx(0.4)
        # Half a second is shown, of which the clip is the beginning.
        assert -1e-6 <= time_s - start_s < 0.5 - 1e-6


def test_memory_is_bounded(tmp_path, monkeypatch):
    held, waiting = [], []
    add, take = ClipWindow.add, player._Player._take

    def counting_add(self, *frame):
        add(self, *frame)
        held.append(len(self))

    def counting_take(self, *frame):
        take(self, *frame)
        waiting.append(len(self._waiting))

    monkeypatch.setattr(ClipWindow, "add", counting_add)
    monkeypatch.setattr(player._Player, "_take", counting_take)
    path = write_numbered(tmp_path / "long.mp4", steady(200))
    play_file(FakeRecognizer(), path, [(0.0, DEAR)], tmp_path / "out", stride_s=4.0)
    # A clip is 12 frames; one more has just come.
    assert max(held) == 13 and max(waiting) <= 12


def test_first_clip_is_what_the_network_saw(recognizer, write_video, tmp_path):
    path = write_video("short.mp4", 12)
    macs = recognizer.table.pareto()[-1].macs
    played = play_file(recognizer, path, [(0.0, Budget("macs", macs))], tmp_path)
    with VideoReader(path) as reader:
        clip = reader.read([0, 2, 4, 6, 8, 11])
    expected = recognizer.predict(clip).top(3)
    (line,) = lines_of(played.csv)
    assert [line[f"top{rank}"] for rank in (1, 2, 3)] == [label for label, _ in expected]
    scores = [float(line[f"score{rank}"]) for rank in (1, 2, 3)]
    # Two ways of scaling down.
    assert scores == pytest.approx([score for _, score in expected], abs=0.02)
    assert (line["subnet"], int(line["macs"])) == ("1x6x40", macs)


class Camera(Live):
    """A live source of numbered frames, 1/30 s apart whatever the clock says."""

    def __init__(self, count, waits=lambda number: None):
        super().__init__("cam", 30.0, None)
        self._numbers, self._waits = range(count), waits

    def _timed(self, over):
        for number in self._numbers:
            self._waits(number)
            yield number / 30, numbered(number)


def test_a_slow_recogniser_drops_frames_and_not_clips(tmp_path, monkeypatch):
    """While it thinks, 45 frames come in: of them the film has one, the next clip all it needs."""
    held, add = [], ClipWindow.add
    monkeypatch.setattr(
        ClipWindow, "add", lambda self, *frame: (add(self, *frame), held.append(len(self)))
    )
    thinking, thought, resumed = (threading.Event() for _ in range(3))

    def waits(number):
        if number == 12:
            # The first clip is full with frame 11.
            assert thinking.wait(10)
        if number == 57:
            thought.set()
            assert resumed.wait(10)

    def gate(call):
        if call == 0:
            thinking.set()
            assert thought.wait(10)
        else:
            resumed.set()

    fake = FakeRecognizer(gate=gate)
    source = Camera(60, waits)
    played = play(fake, source, BudgetScript([(0.0, DEAR)]), tmp_path, stride_s=0.5)
    assert fake.clips[0] == [0, 2, 4, 6, 8, 11]
    # Caused by frame 56, the newest, and cut from frames that were never shown.
    assert fake.clips[1] == [45, 47, 49, 51, 53, 56]
    assert played.dropped >= 44 and played.frames + played.dropped == 60
    assert max(held) <= 13
    assert "dropped" in str(played)


def test_a_live_clip_is_the_most_recent_one(tmp_path):
    fake, shown = FakeRecognizer(), threading.Semaphore(1)

    def waits(number):
        assert shown.acquire(timeout=10)

    source = Camera(60, waits)
    frames = source.frames

    def one_by_one(seen, stop):
        for frame in frames(seen, stop):
            yield frame
            shown.release()

    source.frames = one_by_one
    played = play(fake, source, BudgetScript([(0.0, DEAR)]), tmp_path, stride_s=0.5)
    assert (played.frames, played.dropped) == (60, 0)
    # The first when a whole clip has gone by, at frame 11; then every half second.
    assert [clip[-1] for clip in fake.clips] == [11, 26, 41, 56]
    assert all(clip[0] == clip[-1] - 11 for clip in fake.clips)
    assert [float(line["time_s"]) for line in lines_of(played.csv)] == pytest.approx(
        [number / 30 for number in (11, 26, 41, 56)], abs=1e-3
    )


def test_a_live_source_that_ends_early_is_answered_once(tmp_path):
    fake = FakeRecognizer()
    played = play(fake, Camera(5), BudgetScript([(0.0, DEAR)]), tmp_path)
    assert len(fake.clips) == 1 and fake.clips[0][-1] == 4
    assert [part.clips for part in played.parts] == [1]


def test_a_lost_stream_keeps_what_was_recorded(tmp_path):
    def waits(number):
        if number == 20:
            raise InputError("cam: broke off")

    played = play(FakeRecognizer(), Camera(60, waits), BudgetScript([(0.0, DEAR)]), tmp_path)
    assert played.problem == "cam: broke off" and str(played).endswith("error: cam: broke off")
    with VideoReader(played.mp4) as reader:
        assert len(reader) == played.frames > 0
    with pytest.raises(InputError, match="cam: broke off"):
        play(
            FakeRecognizer(),
            Camera(60, lambda _: waits(20)),
            BudgetScript([(0.0, DEAR)]),
            tmp_path / "nothing",
        )
    assert not list((tmp_path / "nothing").iterdir())


def test_stopping_leaves_playable_files(tmp_path):
    path, stop = write_numbered(tmp_path / "a.mp4", steady(300)), threading.Event()
    fake = FakeRecognizer(gate=lambda call: stop.set() if call == 2 else None)
    played = play_file(fake, path, [(0.0, DEAR)], tmp_path / "out", stop=stop)
    with VideoReader(played.mp4) as reader:
        count = len(reader)
        assert number_of(reader.read([count - 1])[0][:320, :534]) == count - 1
    # The third clip is shown from 1 s on, lies around 1.2 s and is complete at 1.4 s.
    assert count == played.frames == 42
    assert len(lines_of(played.csv)) == 3


def test_so_many_seconds(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", steady(300))
    played = play_file(FakeRecognizer(), path, [(0.0, DEAR)], tmp_path / "out", seconds=1.0)
    assert played.frames == 30
    assert [line["time_s"] for line in lines_of(played.csv)] == ["0.000", "0.500"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"script": [(0.0, DEAR), (1.0, Budget("macs", 1))]}, "below the cheapest"),
        ({"stride_s": 0}, "stride 0"),
        ({"smooth_s": -1}, "smooth -1"),
        ({"seconds": 0}, "seconds 0"),
        ({"output": "a.mp4"}, "cannot be written"),
        ({"output": "."}, "is the video itself"),
    ],
)
def test_nothing_is_written_when_something_is_wrong(tmp_path, arguments, named):
    path = write_numbered(tmp_path / "a.mp4", steady(12))
    arguments = {"script": [(0.0, DEAR)], "output": "out", **arguments}
    script, output = arguments.pop("script"), tmp_path / arguments.pop("output")
    before = path.read_bytes()
    with pytest.raises(InputError, match=named):
        play_file(FakeRecognizer(), path, script, output, **arguments)
    assert not (tmp_path / "out").exists() and path.read_bytes() == before


def test_a_failure_half_way_leaves_no_file(tmp_path):
    def fail(call):
        raise RuntimeError("half way")

    path = write_numbered(tmp_path / "a.mp4", steady(12))
    with pytest.raises(RuntimeError, match="half way"):
        play_file(FakeRecognizer(gate=fail), path, [(0.0, DEAR)], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_every_sub_network_is_warm_before_the_film_begins(tmp_path):
    calls = []

    class Spy(FakeRecognizer):
        def predict(self, clip, subnet=None):
            row = self._row if subnet is None else self.table[subnet]
            calls.append((row.macs, bool(clip.any())))
            return super().predict(clip, subnet)

    path = write_numbered(tmp_path / "a.mp4", steady(12))
    script = [(0.0, DEAR), (0.1, CHEAP), (0.2, Budget("ms", 9.0))]
    play_file(Spy(data(frames=4)), path, script, tmp_path / "out")
    assert calls[:2] == [(1000, False), (100, False)]
    assert [macs for macs, filmed in calls if filmed] == [1000, 100, 1000]
