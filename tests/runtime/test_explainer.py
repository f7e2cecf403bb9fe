"""Maps of a recogniser's own sub-networks."""

import threading

import numpy as np
import pytest
import torch

from mutualvideo.runtime import AdaptiveRecognizer
from mutualvideo.runtime.class_map import class_map
from mutualvideo.runtime.explainer import Explainer
from mutualvideo.runtime.preprocess import prepare
from mutualvideo.slim import extract

pytest.importorskip("captum", reason="captum is not installed")


@pytest.fixture(scope="module")
def recognizer(run_dir):
    return AdaptiveRecognizer(run_dir / "c.pyth", run_dir / "query_table.json", device="cpu")


def test_many_threads_get_the_map_that_each_sub_network_gives_alone(recognizer):
    clip = np.random.default_rng(0).integers(0, 255, (6, 48, 80, 3), np.uint8)
    subnets = [row.subnet for row in recognizer.table if str(row.subnet) in ("1x6x40", "0.5x3x32")]
    expected = {}
    for subnet in subnets:
        network = extract(recognizer.backend.model, subnet)
        look = recognizer.executor.preprocessing
        seen = torch.from_numpy(prepare(clip, look, subnet.frames, subnet.size)[None])
        expected[subnet] = class_map(network, seen, 1)
    explainer, wrong = Explainer(recognizer), []

    def ask(subnet):
        for _ in range(4):
            seen, found = explainer.maps(subnet, clip, 1)
            good = seen.shape == (subnet.frames, subnet.size, subnet.size, 3)
            if not good or not np.allclose(found, expected[subnet], atol=1e-5):
                wrong.append(subnet)

    threads = [threading.Thread(target=ask, args=(subnet,)) for subnet in subnets * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(subnets) == 2 and not wrong


def test_the_frames_are_those_of_the_clip(recognizer):
    # What is normalised and drawn again is the picture, to half a level.
    clip = np.random.default_rng(1).integers(0, 255, (6, 40, 40, 3), np.uint8)
    seen, _ = Explainer(recognizer).maps(recognizer.table.full().subnet, clip, 0)
    assert np.abs(seen.astype(int) - clip).max() <= 1
