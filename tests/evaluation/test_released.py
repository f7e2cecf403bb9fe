"""A table without training, of weights that carry no configuration: adaptive in frames and size."""

import numpy as np
import pytest
import torch

from mutualvideo import AdaptiveRecognizer
from mutualvideo.errors import InputError
from mutualvideo.evaluation.build import evaluate_grid
from mutualvideo.models import build_model
from mutualvideo.models.weights.zoo import ZOO
from mutualvideo.run.distributed import Context

CPU = Context(torch.device("cpu"))


@pytest.fixture
def released(tiny, tmp_path, monkeypatch):
    """``zoo:x3d_s`` as if it had been fetched: of a smaller network."""
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    url = ZOO["x3d_s"].url.removeprefix("https://")
    place = tmp_path / "cache" / url.partition("/")[0] / url.partition("/")[2]
    place.parent.mkdir(parents=True)
    torch.save({"model_state": build_model(tiny()).state_dict()}, place)
    return place


def test_a_released_network_runs_at_every_frame_count_and_size(tiny, released, tmp_path):
    cfg = tiny(
        MODEL__NUM_CLASSES=0,
        TRAIN__ENABLE=False,
        TEST__CHECKPOINT_FILE_PATH="zoo:x3d_s",
        TABLE__WIDTHS=[1.0],
        TABLE__SIZES=[40, 32],
        TABLE__STATISTICS="best",
        TABLE__LATENCY=False,
    )
    table = evaluate_grid(cfg, CPU)
    assert {str(row.subnet) for row in table} == {"1x4x40", "1x4x32", "1x2x40", "1x2x32"}
    assert {row.statistics for row in table} <= {"own", "calibrated"}
    assert table.metadata["checkpoint"] == "weights.pyth"
    recognizer = AdaptiveRecognizer(tmp_path / "run")
    clip = np.zeros((4, 40, 40, 3), np.uint8)
    assert recognizer.predict(clip, subnet=table.rows[0].subnet).scores.shape == (1, 2)
    with pytest.raises(InputError, match="zoo:x3d_s was trained at width 1, so 0.5x4x40 knows"):
        cfg.TABLE.WIDTHS = [0.5]
        evaluate_grid(cfg, CPU)
