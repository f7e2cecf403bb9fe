"""Plans: which runs they ask for, and what is wrong with them."""

from pathlib import Path

import pytest

from mutualvideo.comparison.plan import read_plan
from mutualvideo.config import load_cfg
from mutualvideo.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "configs" / "CIFAR" / "WRN_16_4_small_mutual.yaml"

PLAN = """
BASE: {base}
KEYS: {{SOLVER.MAX_EPOCH: 7, DATA: {{PATH_TO_DATA_DIR: "lists/fold{{fold}}"}}}}
SEEDS: [3, 4]
FOLDS: 2
ROWS: [1x32, 0.5x20]
ARMS:
  single:
    SEEDS: [5]
    KEYS: {{MUTUAL.MODE: single}}
  alone: {{EACH_ROW: [1x32, 0.5x20, 0.25x20], SAME: {{1.0x32: single}}}}
  mutual:
  alpha: {{GONE: MUTUAL.DIVERGENCE alpha}}
AGAINST: [[mutual, alone]]
"""


@pytest.fixture
def write(tmp_path):
    def make(text):
        path = tmp_path / "plan.yaml"
        path.write_text(text.replace("BASE_FILE", str(BASE)))
        return path

    return make


def test_runs(write):
    plan = read_plan(write(PLAN.format(base=BASE)), ["TRAIN.BATCH_SIZE", "32"])
    folders = [run.folder for run in plan.runs]
    assert folders == [
        "single/seed5-fold0",
        "single/seed5-fold1",
        *(
            f"alone/{row}/seed{seed}-fold{fold}"
            for fold in (0, 1)
            for seed in (3, 4)
            for row in ("0.5x20", "0.25x20")
        ),
        *(f"mutual/seed{seed}-fold{fold}" for fold in (0, 1) for seed in (3, 4)),
    ]
    assert plan.rows == ("1x32", "0.5x20")
    assert plan.pairs == (("mutual", "alone"),)
    assert plan.gone == {"alpha": "MUTUAL.DIVERGENCE alpha"}

    cfg = load_cfg(plan.base, plan.runs[3].overrides)
    assert (cfg.RNG_SEED, cfg.SOLVER.MAX_EPOCH, cfg.TRAIN.BATCH_SIZE) == (3, 7, 32)
    assert cfg.DATA.PATH_TO_DATA_DIR == "lists/fold0"
    # The only sub-network that there is, and the only one in its table.
    assert (cfg.MUTUAL.MODE, cfg.MUTUAL.SUBNET) == ("single", "0.25x20")
    assert not (cfg.TABLE.WIDTHS or cfg.TABLE.SIZES or cfg.TABLE.FRAMES or cfg.TABLE.SUBNETS)


@pytest.mark.parametrize(
    "text, named",
    [
        ("ARMS: {a: {}}", "has no BASE"),
        ("BASE: x.yaml", "has no ARMS"),
        ("BASE: BASE_FILE\nARMS: [a]", "ARMS is .*expected arms by name"),
        ("BASE: BASE_FILE\nARMS: {a: 3}", "ARMS.a is 3"),
        ("BASE: BASE_FILE\nARMS: {a: {ROWZ: []}}", "ARMS.a.ROWZ is unknown"),
        ("BASE: BASE_FILE\nARM: {a: {}}", "ARM is unknown"),
        ("BASE: BASE_FILE\nARMS: {a: {}}\nSEEDS: [x]", "SEEDS is .*whole numbers"),
        ("BASE: BASE_FILE\nARMS: {a: {}}\nFOLDS: 1", "FOLDS is 1, expected a number from 2"),
        ("BASE: BASE_FILE\nARMS: {a: {}}\nROWS: [wide]", "ROWS: sub-network 'wide'"),
        ("BASE: BASE_FILE\nARMS: {a: {}}\nAGAINST: [[a, b]]", r"AGAINST contains \['a', 'b'\]"),
        ("BASE: BASE_FILE\nARMS: {a: {}}\nPLOT: [b]", r"PLOT is .*b.*expected some of \['a'\]"),
        ("BASE: BASE_FILE\nARMS: {a: {SAME: {1x32: b}}}", "SAME names 'b', which is no arm"),
        ("BASE: BASE_FILE\nARMS: {a: {KEYS: {MUTUAL.MOOD: 1}}}", "unknown key MUTUAL.MOOD"),
        ("BASE: BASE_FILE\nARMS: {a: {GONE: x, KEYS: {}}}", "ARMS.a is .*expected GONE alone"),
        ("BASE: BASE_FILE\nARMS: {a: {SAME: }}", "SAME is .*expected ROW: ARM"),
        ("BASE: BASE_FILE\nARMS: {a: {}}\nAGAINST:", "AGAINST is .*expected a list"),
        ("BASE: BASE_FILE\nARMS: {a: {}}\nAGAINST: [[a, [a]]]", "AGAINST contains"),
        ("BASE: BASE_FILE\nARMS: {a: {}}\nPLOT: [[a]]", "PLOT is"),
        ("BASE: BASE_FILE\nARMS: {a: {}}\nCURVES: [a]", "CURVES is .*expected NAME"),
        ("BASE: BASE_FILE\nARMS: {a: {}}\nCURVES: {x: [b]}", r"CURVES.x is .*some of \['a'\]"),
        ("BASE: nowhere.yaml\nARMS: {a: {}}", "nowhere.yaml"),
        ("BASE: BASE_FILE\nARMS: {on: {}}", "an arm True, which is no text: quote"),
        ("BASE: BASE_FILE\nARMS: {8: {}}", "an arm 8, which is no text"),
        ("BASE: BASE_FILE\nARMS: {../a: {}}", "'../a', which cannot name a folder"),
        ("BASE: BASE_FILE\nARMS: {a: {}}\nSEEDS: [0, 1, 0]", "SEEDS is .*a number is in it twice"),
        ("BASE: BASE_FILE\nARMS: {a: {}}\nFOLDS: 2", "FOLDS, and no value .*ARMS.a has {fold}"),
        ("BASE: BASE_FILE\nKEYS: {RNG_SEED: 3}\nARMS: {a: {}}", "KEYS sets RNG_SEED: .*SEEDS"),
        (
            "BASE: BASE_FILE\nARMS: {a: {KEYS: {OUTPUT_DIR: x}}}",
            "ARMS.a.KEYS sets OUTPUT_DIR: .*--runs",
        ),
        (
            "BASE: BASE_FILE\nARMS: {a: {EACH_ROW: [1x32], SAME: {1x32: a}}}",
            "SAME names the arm itself",
        ),
        (
            "BASE: BASE_FILE\nARMS: {b: {}, a: {EACH_ROW: [1x32], SAME: {0.5x32: b}}}",
            "SAME names 0.5x32, which is not in its EACH_ROW",
        ),
        ("BASE: [", "cannot be read as a plan"),
        ("- 1", "expected a plan"),
    ],
)
def test_errors(write, text, named):
    with pytest.raises(InputError, match=named):
        read_plan(write(text))


def test_a_command_line_keeps_seeds_and_rows_apart(write):
    path = write("BASE: BASE_FILE\nSEEDS: [3, 4]\nARMS: {a: {EACH_ROW: [1x32, 0.5x20]}}")
    with pytest.raises(InputError, match="the command line sets RNG_SEED"):
        read_plan(path, ["SOLVER.MAX_EPOCH", "2", "RNG_SEED", "7"])
    found = []
    for run in read_plan(path, ["MUTUAL.MODE", "mutual", "TABLE.WIDTHS", "[1.0]"]).runs:
        cfg = load_cfg(BASE, run.overrides)
        assert cfg.MUTUAL.MODE == "single" and not cfg.TABLE.WIDTHS
        found.append((cfg.MUTUAL.SUBNET, cfg.RNG_SEED))
    assert found == [("1x32", 3), ("0.5x20", 3), ("1x32", 4), ("0.5x20", 4)]


def test_a_command_line_may_give_the_folds_their_data_or_take_it_away(write):
    path = write("BASE: BASE_FILE\nFOLDS: 2\nARMS: {a: {}}")
    plan = read_plan(path, ["DATA.PATH_TO_DATA_DIR", "lists/{fold}"])
    folders = [load_cfg(BASE, run.overrides).DATA.PATH_TO_DATA_DIR for run in plan.runs]
    assert folders == ["lists/0", "lists/1"]
    path = write(
        'BASE: BASE_FILE\nKEYS: {DATA.PATH_TO_DATA_DIR: "{fold}"}\nFOLDS: 2\nARMS: {a: {}}'
    )
    with pytest.raises(InputError, match="all folds would be the same"):
        read_plan(path, ["DATA.PATH_TO_DATA_DIR", "lists"])


@pytest.mark.parametrize("path", sorted(ROOT.glob("docs/results/*/plan.yaml")), ids=str)
def test_committed_plans(path):
    plan = read_plan(path)
    assert plan.runs and plan.pairs
