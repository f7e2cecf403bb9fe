"""The recogniser in continual form: a stream under budgets of a second."""

import copy
import functools
import shutil
import threading

import numpy as np
import pytest
import torch

from mutualvideo.continual import ContinualNetwork, calibrate_streams
from mutualvideo.errors import InputError
from mutualvideo.runtime import AdaptiveRecognizer
from mutualvideo.runtime.prepared import PreparationError
from mutualvideo.runtime.preprocess import Preprocessing, prepare
from mutualvideo.slim import get_statistics, load_statistics
from mutualvideo.subnet import Subnet
from mutualvideo.table.continual_table import ContinualRow, ContinualTable
from mutualvideo.table.fingerprint import fingerprint
from mutualvideo.table.query import QueryTable
from tests.runtime.conftest import FULL

# Of 30 frames a second, six span twelve, the first and the last of them: they are 2.2 apart. Three
# of six are 2.5 times as far apart.
APART_S = 11 / 5 / 30
PACKAGES = {"openvino": ("openvino",), "onnxruntime": ("onnxruntime", "onnx", "onnxscript")}
NARROW, FEW = Subnet(0.75, 6, 32), Subnet(0.5, 3, 32)


@pytest.fixture(scope="module")
def run_with_rows(run_dir, tiny_cfg, tmp_path_factory):
    """The run, its table naming rows in continual form."""
    table = QueryTable.load_json(run_dir / "query_table.json")
    model = AdaptiveRecognizer(run_dir).backend.model
    rows = []
    for subnet, share, top1 in ((FEW, 0.4, 50.0), (NARROW, 1.0, 70.0), (FULL, 1.0, 90.0)):
        form = ContinualNetwork(model, subnet=subnet)
        about = form.delay, form.nbytes(), top1
        rows.append(ContinualRow(subnet, form.macs(), share / APART_S, *about))
    folder = tmp_path_factory.mktemp("continual")
    of_streams = copy.deepcopy(model)
    streams = [torch.randn(2, 3, 14, FULL.size, FULL.size)]
    calibrate_streams(of_streams, [FULL, NARROW, FEW], streams, FULL.frames)
    torch.save(get_statistics(of_streams), folder / "rows.pyth")
    ContinualTable(rows, {"statistics": "rows.pyth"}).save_json(folder / "rows.json")
    table.metadata |= {"continual": str(folder / "rows.json")}
    table.metadata |= {
        key: str(run_dir / table.metadata[key]) for key in ("checkpoint", "statistics")
    }
    table.save_json(folder / "query_table.json")
    return run_dir / "c.pyth", folder / "query_table.json"


def frames(count):
    return np.random.default_rng(count).integers(0, 256, (count, 48, 64, 3), np.uint8)


def test_of_videos_with_several_labels_scores_are_of_a_sigmoid(run_with_rows):
    found = []
    for several in (False, True):
        recognizer = AdaptiveRecognizer(*run_with_rows, mode="continual")
        recognizer.backend.several_labels = several
        recognizer.set_budget("1T/s")
        found.append([recognizer.predict(frame).scores for frame in frames(4)][-1])
    softmax, sigmoid = map(torch.tensor, found)
    assert float(softmax.sum()) == pytest.approx(1)
    # Both of the same logits: log-odds of a sigmoid are the logits.
    torch.testing.assert_close(sigmoid.logit().softmax(1), softmax, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "backend",
    ["torch", "torch-extracted"]
    + [pytest.param(name, marks=pytest.mark.slow) for name in ("openvino", "onnxruntime")],
)
def test_answers_are_those_of_the_network_on_prepared_frames(run_with_rows, tiny_cfg, backend):
    for package in PACKAGES.get(backend, ()):
        pytest.importorskip(package)
    recognizer = AdaptiveRecognizer(*run_with_rows, backend=backend, mode="continual")
    row = recognizer.set_budget("1T/s")
    assert row.subnet == FULL and recognizer.current == row
    found = [recognizer.predict(frame) for frame in frames(14)]
    network = copy.deepcopy(recognizer.backend.model)
    load_statistics(network, run_with_rows[1].parent / "rows.pyth")
    model = ContinualNetwork(network, subnet=FULL)
    state = model.start()
    # As a clip of all 14 frames is prepared.
    look = tuple(tiny_cfg.DATA.MEAN), tuple(tiny_cfg.DATA.STD)
    pixels = prepare(frames(14), Preprocessing(14, FULL.size, *look), 14, FULL.size)
    for number, prediction in enumerate(found):
        with torch.inference_mode():
            logits, state = model.step(torch.from_numpy(pixels)[None, :, number], state)
        assert np.abs(prediction.scores - logits.softmax(1).numpy()).max() < 1e-4
        assert prediction.subnet == FULL and prediction.fresh
        assert prediction.macs == row.macs
        assert prediction.warming_up == max(0, model.fills_after - 1 - number)
        assert prediction.delay == row.delay == model.delay
    assert found[0].labels[0] in recognizer.class_names
    recognizer.frames.restart()
    again = recognizer.predict(frames(14)[0])
    assert np.allclose(again.scores, found[0].scores, atol=1e-6)


def test_a_budget_between_two_frames(run_with_rows):
    recognizer = AdaptiveRecognizer(*run_with_rows, mode="continual", filling="at once")
    rows = recognizer.frames.rows
    cheap = rows[NARROW]
    recognizer.set_budget("1T/s")
    recognizer.predict(frames(1)[0])
    assert recognizer.set_budget(macs_per_s=cheap.cost("macs_per_s")) == cheap
    assert recognizer.predict(frames(1)[0]).subnet == NARROW
    recognizer.set_budget(macs_per_s=cheap.cost("macs_per_s") - 1)
    assert recognizer.predict(frames(1)[0]).subnet == FEW
    recognizer.switch(FULL)
    assert recognizer.predict(frames(1)[0]).subnet == FULL
    assert recognizer.frames.frame_s == pytest.approx(APART_S)


def test_what_is_refused(run_with_rows, run_dir):
    recognizer = AdaptiveRecognizer(*run_with_rows, mode="continual")
    with pytest.raises(InputError, match="call set_budget"):
        recognizer.predict(frames(1)[0])
    with pytest.raises(InputError, match=r"one frame at a time.*not \(2, "):
        recognizer.predict(frames(2))
    with pytest.raises(InputError, match="multiply-adds a second"):
        recognizer.set_budget("40ms")
    with pytest.raises(InputError, match="macs_per_s"):
        recognizer.set_budget(ms=40)
    with pytest.raises(InputError, match="exactly one"):
        recognizer.set_budget()
    with pytest.raises(InputError, match="below the cheapest row"):
        recognizer.set_budget("1/s")
    with pytest.raises(InputError, match="not in the continual table"):
        recognizer.switch(Subnet(0.5, 6, 40))
    with pytest.raises(InputError, match="TABLE.CONTINUAL"):
        AdaptiveRecognizer(run_dir, mode="continual")
    with pytest.raises(InputError, match="mode 'stream'"):
        AdaptiveRecognizer(run_dir, mode="stream")
    with pytest.raises(InputError, match="keeps no state"):
        AdaptiveRecognizer(*run_with_rows, backend="torch-compiled", mode="continual")
    clips = AdaptiveRecognizer(run_dir)
    with pytest.raises(InputError, match="stream in continual form"):
        clips.set_budget("2G/s")
    with pytest.raises(InputError, match='mode="continual"'):
        clips.set_budget(core=0.5)


@pytest.fixture
def slow_to_prepare(run_with_rows, monkeypatch):
    """Of a backend that prepares in the background; what it prepares is torch, and quick."""
    pytest.importorskip("openvino")
    made = {}

    def form(backend, network, subnet):
        return made[subnet](network, subnet)

    for subnet in (FULL, NARROW, FEW):
        made[subnet] = lambda network, subnet: ContinualNetwork(network, subnet=subnet)
    monkeypatch.setattr("mutualvideo.runtime.continual_form.continual_form", form)
    how = {"backend": "openvino", "mode": "continual", "filling": "at once"}
    recognizer = AdaptiveRecognizer(*run_with_rows, **how)
    recognizer.switch(FULL)
    assert recognizer.predict(frames(1)[0]).subnet == FULL
    return recognizer, made


def test_a_switch_does_not_wait_for_what_is_prepared(slow_to_prepare):
    """The row before answers until the other one is there."""
    recognizer, made = slow_to_prepare
    go_on, as_before = threading.Event(), made[NARROW]
    made[NARROW] = lambda *given: go_on.wait() and as_before(*given)
    try:
        recognizer.switch(NARROW)
        assert recognizer.predict(frames(1)[0]).subnet == FULL
        assert recognizer.current.subnet == NARROW
    finally:
        go_on.set()
    recognizer.frames.prepare()  # waits
    assert recognizer.predict(frames(1)[0]).subnet == NARROW


@pytest.mark.parametrize("how", ["switch", "set_budget", "wait_ready"])
def test_whoever_wants_to_wait_waits(slow_to_prepare, how):
    recognizer, made = slow_to_prepare
    begun, as_before = [], made[NARROW]
    made[NARROW] = lambda *given: begun.append(given) or as_before(*given)
    if how == "switch":
        recognizer.switch(f"{NARROW}@continual", wait=True)
    elif how == "set_budget":
        narrow = recognizer.frames.rows[NARROW].cost("macs_per_s")
        recognizer.set_budget(macs_per_s=narrow, wait=True)
    else:
        recognizer.switch(NARROW)
        assert recognizer.wait_ready()
    assert len(begun) == 1 and recognizer.wait_ready(0)
    assert recognizer.predict(frames(1)[0]).subnet == NARROW
    stop = threading.Event()
    made[FEW] = lambda *given: stop.wait() and as_before(*given)
    try:
        recognizer.switch(FEW)
        assert not recognizer.wait_ready(0.01)
    finally:
        stop.set()


def test_a_failure_is_told_to_whoever_waits(slow_to_prepare):
    recognizer, made = slow_to_prepare

    def fail(*given):
        raise RuntimeError("no such kernel")

    made[NARROW] = fail
    with pytest.raises(PreparationError, match="0.75x6x32.*no such kernel"):
        recognizer.switch(NARROW, wait=True)
    assert recognizer.current.subnet == FULL == recognizer.predict(frames(1)[0]).subnet


def test_closed_it_answers_no_frame(run_with_rows):
    with AdaptiveRecognizer(*run_with_rows, mode="continual") as recognizer:
        recognizer.switch(FULL)
        recognizer.predict(frames(1)[0])
    for call in (
        lambda: recognizer.predict(frames(1)[0]),
        lambda: recognizer.switch(FULL),
        recognizer.wait_ready,
        recognizer.frames.prepare,
    ):
        with pytest.raises(InputError, match="was closed: open the run anew"):
            call()
    recognizer.close()


def test_rows_and_statistics_are_held_against_the_table(run_with_rows, tmp_path):
    """Another checkpoint's, or the clips' in place of the streams', answer differently."""
    checkpoint, table = run_with_rows
    shutil.copytree(table.parent, tmp_path, dirs_exist_ok=True)
    table = QueryTable.load_json(tmp_path / table.name)
    table.metadata["continual"] = "rows.json"
    table.save_json(tmp_path / "query_table.json")
    rows = ContinualTable.load_json(tmp_path / "rows.json")
    about = {**rows.metadata, "statistics_fingerprint": fingerprint(tmp_path / "rows.pyth")}
    opened = functools.partial(
        AdaptiveRecognizer, checkpoint, tmp_path / "query_table.json", mode="continual"
    )
    ContinualTable(rows, about).save_json(tmp_path / "rows.json")
    opened().close()
    ContinualTable(rows, {**about, "fingerprint": "sha256:0"}).save_json(tmp_path / "rows.json")
    with pytest.raises(InputError, match=r"rows.json: .*not the rows of the query table's check"):
        opened()
    ContinualTable(rows, about).save_json(tmp_path / "rows.json")
    shutil.copy(table.path_of("statistics"), tmp_path / "rows.pyth")
    with pytest.raises(InputError, match=r"rows.pyth: .*not the statistics that rows.json was"):
        opened()


def test_a_row_that_cannot_be_prepared(slow_to_prepare):
    recognizer, made = slow_to_prepare

    def fail(*given):
        raise RuntimeError("no such kernel")

    as_before, made[NARROW] = made[NARROW], fail
    with pytest.raises(PreparationError, match="0.75x6x32.*no such kernel"):
        recognizer.switch(NARROW)
        while True:  # each is answered, by the row before, until the failure is known
            assert recognizer.predict(frames(1)[0]).subnet == FULL
    assert recognizer.predict(frames(1)[0]).subnet == FULL == recognizer.current.subnet
    made[NARROW] = as_before
    recognizer.frames.prepare()
    recognizer.switch(NARROW)
    assert recognizer.predict(frames(1)[0]).subnet == NARROW
