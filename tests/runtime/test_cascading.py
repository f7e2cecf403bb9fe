import numpy as np
import pytest

from mutualvideo.errors import InputError
from mutualvideo.runtime.cascading import CascadeRunner
from mutualvideo.subnet import Subnet
from mutualvideo.table.cascade import Cascade
from mutualvideo.table.query import QueryTable, Row

SUBNETS = [Subnet(0.25, 4, 80), Subnet(0.5, 8, 80), Subnet(1, 8, 112)]
MACS = [10, 40, 100]
TABLE = QueryTable([Row(s, m, 1) for s, m in zip(SUBNETS, MACS, strict=True)])
CASCADE = Cascade(SUBNETS, (0.7, 0.5))


def predictor(scores, asked):
    def predict(subnet, index):
        asked.append((subnet, index.tolist()))
        return scores[SUBNETS.index(subnet)][index]

    return predict


@pytest.mark.parametrize("seed", range(5))
def test_equals_choosing_with_all_scores_at_hand(seed):
    scores = np.random.default_rng(seed).dirichlet(np.full(3, 0.7), (3, 50)).astype(np.float32)
    runner, asked = CascadeRunner(CASCADE, TABLE), []
    answer = runner.run(predictor(scores, asked), clips=50)
    stages = CASCADE.choose(scores.max(2))
    np.testing.assert_array_equal(answer.scores, scores[stages, range(50)])
    assert answer.scores.dtype == np.float32
    assert answer.subnets == tuple(SUBNETS[stage] for stage in stages)
    # What was asked is what was paid for.
    for clip in range(50):
        ran = sum(MACS[SUBNETS.index(subnet)] for subnet, index in asked if clip in index)
        assert answer.macs[clip] == ran
    assert runner.average_macs == pytest.approx(answer.macs.mean())
    assert runner.answered.tolist() == np.bincount(stages, minlength=3).tolist()


def test_sure_answers_ask_nobody_else():
    runner, asked = CascadeRunner(CASCADE, TABLE), []
    assert runner.average_macs == 0.0
    scores = np.array([[[0.75, 0.25]], [[0.6, 0.4]], [[0.5, 0.5]]])
    answer = runner.run(predictor(scores, asked))
    assert asked == [(SUBNETS[0], [0])] and answer.subnets == (SUBNETS[0],)
    runner.run(predictor(np.full((3, 1, 4), 0.25), asked))
    assert asked[1:] == [(subnet, [0]) for subnet in SUBNETS]
    assert runner.average_macs == (10 + 150) / 2


def test_refuses():
    with pytest.raises(InputError, match="2x1x1 is not in the table"):
        CascadeRunner(Cascade((Subnet(2, 1, 1),), ()), TABLE)
    runner = CascadeRunner(CASCADE, TABLE)
    with pytest.raises(InputError, match=r"0.25x4x80 was asked about 2 clips.*\(1, 3\)"):
        runner.run(lambda subnet, index: np.ones((1, 3)), clips=2)
