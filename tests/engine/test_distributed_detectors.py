"""Two gloo processes with a detector against one with the whole batches."""

import os

import pytest
import torch

from mutualvideo import QueryTable
from mutualvideo.detection.toy_shapes import make_toy_detection
from mutualvideo.run.checkpoint import checkpoint_path
from mutualvideo.run.distributed import Context
from tests.engine import detectors_together, together
from tests.engine.small_detector import small_detector

PICTURES = 5


@pytest.fixture(scope="module")
def cfg(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    make_toy_detection(folder, 8, PICTURES, 0, progress=False)
    changes = {"BN__NORM_TYPE": "sync_batchnorm", "SOLVER__MAX_EPOCH": 1, "TEST__BATCH_SIZE": 2}
    return small_detector(folder, folder / "of", TRAIN__EVAL_PERIOD=1, **changes)


@pytest.fixture(scope="module")
def alone(cfg):
    return detectors_together.everything(cfg, Context(torch.device("cpu")))


@pytest.fixture(scope="module")
def ranks(cfg, tmp_path_factory, unused_ports):
    ports, folder = {2: unused_ports(1)[0]}, tmp_path_factory.mktemp("ranks")
    return together.in_groups(detectors_together.everything, cfg, ports, folder)[2]


def test_gradients_are_those_of_the_whole_batch(ranks, alone):
    for rank in ranks:
        torch.testing.assert_close(rank["gradients"], alone["gradients"], rtol=1e-4, atol=1e-5)


def test_statistics_and_scores_are_those_of_one_process(ranks, alone):
    wanted, scores, _ = alone["scores"]
    assert all(0 < one["box"].ap < one["box"].ap50 <= 100 for one in scores.values())
    for rank in ranks:
        statistics, found, _ = rank["scores"]
        assert found == scores
        torch.testing.assert_close(statistics, wanted, rtol=1e-5, atol=1e-6)


def test_every_picture_is_looked_at_once(ranks):
    seen = [number for rank in ranks for number in rank["scores"][2]]
    assert sorted(seen) == sorted(3 * list(range(PICTURES)))  # by each of three sub-networks


def test_a_run_leaves_one_table(cfg, ranks, alone):
    folder = f"{cfg.OUTPUT_DIR}2"
    assert [rank["checkpoint"] for rank in ranks] == 2 * [checkpoint_path(folder, 1)]
    assert ranks[0]["table"].keys() == ranks[1]["table"].keys() == alone["table"].keys()
    table = QueryTable.load_json(os.path.join(folder, "query_table.json"))
    found = {str(row.subnet): (row.macs, row.box_ap, row.box_ap50) for row in table}
    assert found == ranks[0]["table"] == ranks[1]["table"]
