import threading
import time

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mutualvideo.errors import InputError
from mutualvideo.models import load_model
from mutualvideo.runtime import AdaptiveRecognizer
from mutualvideo.slim import extract, load_statistics
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable, Row

FULL, SMALL, UNCALIBRATED = Subnet(1, 6, 40), Subnet(0.5, 3, 32), Subnet(0.5, 6, 40)


@pytest.fixture(scope="module")
def recognizer(run_dir):
    return AdaptiveRecognizer(run_dir / "c.pyth", run_dir / "query_table.json", device="cpu")


@pytest.fixture(scope="module")
def clip():
    return np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), np.uint8)


def use(recognizer, subnet):
    """Sets the budget under which the table chooses ``subnet``."""
    assert recognizer.set_budget(macs=recognizer.table[subnet].macs).subnet == subnet


def by_hand(run_dir, cfg, clip, subnet):
    """Softmax of the extracted plain network on a (6, 40, 40, 3) clip, no code of ours but slim."""
    model, _ = load_model(run_dir / "c.pyth")
    load_statistics(model, run_dir / "s.pyth")
    x = (clip.astype(np.float64) / 255 - cfg.DATA.MEAN) / cfg.DATA.STD
    x = x[np.linspace(0, 5, subnet.frames).astype(int)]
    x = torch.from_numpy(x).permute(0, 3, 1, 2).float()
    if subnet.size != 40:
        x = F.interpolate(x, (subnet.size,) * 2, mode="bilinear", antialias=True)
    network = extract(model, subnet).eval()
    with torch.no_grad():
        return network(x.transpose(0, 1)[None]).softmax(1).numpy()


@pytest.mark.parametrize("subnet", [FULL, SMALL, Subnet(0.75, 6, 32)], ids=str)
def test_answers_are_the_extracted_networks(recognizer, run_dir, tiny_cfg, clip, subnet):
    use(recognizer, subnet)
    prediction = recognizer.predict(clip)
    assert prediction.scores.dtype == np.float32
    assert prediction.scores.shape == (1, 3)
    expected = by_hand(run_dir, tiny_cfg, clip, subnet)
    np.testing.assert_allclose(prediction.scores, expected, atol=1e-5)
    assert prediction.labels == (["wave", "point", "push"][expected.argmax()],)
    assert (prediction.subnet, prediction.macs) == (subnet, recognizer.table[subnet].macs)
    assert 0 < prediction.latency_ms < prediction.total_ms


def test_reading_a_file_counts(recognizer, clip, monkeypatch):
    """Or else a budget in clips a second would be overstepped by whoever names files."""

    def read(given, original=recognizer.executor.clips):
        time.sleep(0.02)
        return original(given)

    monkeypatch.setattr(recognizer.executor, "clips", read)
    use(recognizer, SMALL)
    for prediction in (recognizer.predict(clip), recognizer.predict(clip, FULL)):
        assert prediction.total_ms - prediction.latency_ms >= 20


def test_switching_back_and_forth_changes_nothing(recognizer, clip):
    use(recognizer, FULL)
    first = recognizer.predict(clip).scores
    use(recognizer, SMALL)
    other = recognizer.predict(clip).scores
    use(recognizer, FULL)
    np.testing.assert_array_equal(recognizer.predict(clip).scores, first)
    assert np.abs(first - other).max() > 1e-3


def test_layouts_and_types_are_the_same_clip(recognizer, clip):
    use(recognizer, SMALL)
    expected = recognizer.predict(clip).scores
    channels_first = np.ascontiguousarray(clip.transpose(3, 0, 1, 2))
    for same in (channels_first, channels_first[None], torch.from_numpy(clip)):
        np.testing.assert_array_equal(recognizer.predict(same).scores, expected)
    batch = np.stack([channels_first, channels_first[:, ::-1]])
    prediction = recognizer.predict(batch)
    assert prediction.scores.shape == (2, 3) and len(prediction.labels) == 2
    np.testing.assert_allclose(prediction.scores[0], expected[0], atol=1e-6)


def test_any_length_and_size(recognizer, clip):
    use(recognizer, FULL)
    expected = recognizer.predict(clip).scores
    # Every frame three times: even positions of 18 frames are the 6 again.
    longer = clip.repeat(3, 0)
    np.testing.assert_array_equal(recognizer.predict(longer).scores, expected)
    # The centre of a wider picture.
    wider = np.pad(clip, ((0, 0), (0, 0), (8, 8), (0, 0)))
    np.testing.assert_array_equal(recognizer.predict(wider).scores, expected)
    for shape in ((1, 40, 40, 3), (2, 100, 61, 3), (50, 7, 9, 3), (3, 5, 24, 30)):
        scores = recognizer.predict(np.zeros(shape, np.uint8)).scores
        np.testing.assert_allclose(scores.sum(1), 1, atol=1e-5)


def test_top_is_sorted(recognizer, clip):
    use(recognizer, FULL)
    prediction = recognizer.predict(clip)
    top = prediction.top(2)
    assert top[0][0] == prediction.labels[0]
    assert [score for _, score in top] == sorted(prediction.scores[0].tolist())[:0:-1]
    assert len(prediction.top(5)) == 3


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (np.zeros((6, 40, 40, 3), np.float32), r"float32 \(6, 40, 40, 3\)"),
        (torch.zeros(6, 40, 40, 3), r"torch.float32 \(6, 40, 40, 3\)"),
        (np.zeros((6, 40, 40), np.uint8), r"\(6, 40, 40\)"),
        (np.zeros((6, 1, 40, 40), np.uint8), r"\(6, 1, 40, 40\)"),
        (np.zeros((2, 6, 40, 40, 3), np.uint8), r"\(2, 6, 40, 40, 3\)"),
        (np.zeros((0, 40, 40, 3), np.uint8), r"\(0, 40, 40, 3\)"),
        ("clip.mp4", "clip.mp4: no such video file"),
    ],
)
def test_predict_refuses(recognizer, bad, named):
    use(recognizer, FULL)
    with pytest.raises(InputError, match=named):
        recognizer.predict(bad)


def test_budgets(recognizer):
    use(recognizer, SMALL)
    cheapest = recognizer.table[SMALL]
    with pytest.raises(InputError, match=r"below the cheapest sub-network, 0.5x3x32"):
        recognizer.set_budget(macs=cheapest.macs - 1)
    with pytest.raises(InputError, match=r"0.5x6x40 was never calibrated"):
        recognizer.set_budget(macs=recognizer.table[UNCALIBRATED].macs)
    with pytest.raises(InputError, match=r"0.5x6x40 was never calibrated"):
        # Fits now, but a slower machine would have to fall back on it.
        recognizer.set_budget(ms=1e3)
    # What is refused leaves the recogniser as it was.
    assert recognizer.current == cheapest
    assert recognizer.switch(FULL).subnet == FULL
    assert recognizer.current.subnet == FULL


def test_predicting_needs_a_budget(run_dir, clip):
    fresh = AdaptiveRecognizer(run_dir / "c.pyth", run_dir / "query_table.json")
    assert fresh.current is None
    with pytest.raises(InputError, match="set_budget"):
        fresh.predict(clip)


def test_an_already_built_network(run_dir, tiny_cfg, recognizer, clip):
    model, cfg = load_model(run_dir / "c.pyth")
    load_statistics(model, run_dir / "s.pyth")
    rows = QueryTable.load_json(run_dir / "query_table.json").rows
    built = AdaptiveRecognizer(model, QueryTable(rows), device="cpu", cfg=cfg)
    for one in (built, recognizer):
        use(one, SMALL)
    prediction = built.predict(clip)
    np.testing.assert_array_equal(prediction.scores, recognizer.predict(clip).scores)
    assert prediction.labels[0] in ("0", "1", "2")
    # In place: the weights are the caller's, not a copy.
    built_weights = {id(parameter) for parameter in model.parameters()}
    assert {id(p) for p in built.backend.model.parameters()} == built_weights
    with pytest.raises(InputError, match="cfg"):
        AdaptiveRecognizer(model, QueryTable(rows))


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({"fingerprint": "sha256:0"}, "is not the checkpoint"),
        ({"classes": ["one"]}, "classes must be a list of 3 names, got 1"),
        ({"statistics": "absent.pyth"}, "absent.pyth"),
    ],
)
def test_table_and_checkpoint_must_belong_together(run_dir, tmp_path, metadata, named):
    table = QueryTable([Row(FULL, 5, 5)], metadata)
    table.folder = tmp_path
    with pytest.raises(InputError, match=named):
        AdaptiveRecognizer(run_dir / "c.pyth", table, device="cpu")


@pytest.mark.parametrize("subnet", ["0.1x6x40", "1x7x40", "1x40"])
def test_rows_of_another_network(run_dir, subnet):
    table = QueryTable([Row(Subnet.parse(subnet), 5, 5)])
    with pytest.raises(InputError, match=f"row {subnet}"):
        AdaptiveRecognizer(run_dir / "c.pyth", table, device="cpu")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"backend": "abacus"}, "'abacus'.*torch"), ({"device": "teapot"}, "'teapot'")],
)
def test_backend_and_device(run_dir, arguments, named):
    with pytest.raises(InputError, match=named):
        AdaptiveRecognizer(run_dir / "c.pyth", run_dir / "query_table.json", **arguments)


def test_threads_take_turns(recognizer, clip):
    expected = {}
    for subnet in (FULL, SMALL):
        use(recognizer, subnet)
        expected[subnet] = recognizer.predict(clip).scores
    wrong = []

    def work(subnet):
        for _ in range(8):
            use(recognizer, subnet)
            prediction = recognizer.predict(clip)
            # Another thread may have switched in between; the answer must say so itself.
            if np.abs(prediction.scores - expected[prediction.subnet]).max() > 1e-5:
                wrong.append(prediction)

    threads = [threading.Thread(target=work, args=(subnet,)) for subnet in (FULL, SMALL)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
