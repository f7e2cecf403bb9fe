"""Files that are based on others, and what the package's own configs make of it."""

from pathlib import Path

import pytest
import yaml
from fvcore.common.config import CfgNode

from mutualvideo.config import format_cfg, load_cfg, trace_cfg
from mutualvideo.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(ROOT.glob("configs/**/*.yaml"))


def write(folder, **files):
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / f"{next(iter(files))}.yaml"


def flat(values):
    return {f"{s}.{k}": v for s, section in values.items() for k, v in section.items()}


def test_a_file_holds_over_what_it_is_based_on(tmp_path):
    path = write(
        tmp_path,
        leaf="_BASE_: base/middle.yaml\nSOLVER: {BASE_LR: 0.3}",
        base__middle="_BASE_: ../bottom.yaml\nSOLVER: {BASE_LR: 0.2, MAX_EPOCH: 7}",
        bottom="SOLVER: {BASE_LR: 0.1, MAX_EPOCH: 5, MOMENTUM: 0.5}\nTRAIN: {BATCH_SIZE: 3}",
    )
    cfg, origins = trace_cfg(path, ["TRAIN.BATCH_SIZE", "4"])
    found = cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_EPOCH, cfg.SOLVER.MOMENTUM, cfg.TRAIN.BATCH_SIZE
    assert found == (0.3, 7, 0.5, 4)
    assert origins == {
        "SOLVER.BASE_LR": str(path),
        "SOLVER.MAX_EPOCH": str(tmp_path / "base" / "middle.yaml"),
        "SOLVER.MOMENTUM": str(tmp_path / "bottom.yaml"),
        "TRAIN.BATCH_SIZE": "command line",
    }


def test_of_several_bases_the_last_holds(tmp_path):
    path = write(
        tmp_path,
        leaf=f"_BASE_: [one.yaml, {tmp_path}/two.yaml]",
        one="SOLVER: {BASE_LR: 0.1, MAX_EPOCH: 5}",
        two="SOLVER: {BASE_LR: 0.2}",
    )
    assert load_cfg(path).SOLVER.BASE_LR == 0.2 and load_cfg(path).SOLVER.MAX_EPOCH == 5


@pytest.mark.parametrize(
    "files, message",
    [
        ({"leaf": "_BASE_: leaf.yaml"}, "leaf.yaml: is based on itself"),
        ({"leaf": "_BASE_: other.yaml", "other": "_BASE_: leaf.yaml"}, "is based on itself"),
        ({"leaf": "_BASE_: none.yaml"}, "none.yaml: no such config file"),
        ({"leaf": "_BASE_: 3"}, "leaf.yaml: _BASE_ is 3, expected a file"),
        ({"leaf": "_BASE_: [{}]"}, "expected a file, or a list of files"),
        (
            {"leaf": "_BASE_: other.yaml", "other": "SOLVER: {BASE_RL: 1}"},
            "other.yaml: unknown key SOLVER.BASE_RL",
        ),
    ],
)
def test_bad_bases(tmp_path, files, message):
    with pytest.raises(InputError, match=message):
        load_cfg(write(tmp_path, **files))


def test_printed_with_origins_it_reads_back(tmp_path):
    path = write(tmp_path, leaf="_BASE_: base.yaml\nTRAIN: {BATCH_SIZE: 3}", base="RNG_SEED: 7")
    cfg, origins = trace_cfg(path, ["DATA.PATH_LABEL_SEPARATOR", "#", "TABLE.SUBNETS", "['1x8']"])
    text = format_cfg(cfg, origins)
    (tmp_path / "again.yaml").write_text(text)
    assert load_cfg(tmp_path / "again.yaml") == cfg
    lines = [line.split("  # ") for line in text.splitlines()]
    found = {one[0].strip(): one[1] for one in lines if len(one) == 2}
    assert found["BATCH_SIZE: 3"] == str(path)
    assert found["RNG_SEED: 7"] == str(tmp_path / "base.yaml")
    assert found["PATH_LABEL_SEPARATOR: '#'"] == found["SUBNETS: [1x8]"] == "command line"
    assert found["LOG_PERIOD: 10"] == "default"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_config_repeats_what_it_has_anyway(path, tmp_path):
    values = yaml.safe_load(path.read_text())
    bases = values.pop("_BASE_", [])
    bases = [bases] if isinstance(bases, str) else bases
    above = tmp_path / "above.yaml"
    above.write_text(yaml.safe_dump({"_BASE_": [str(path.parent / base) for base in bases]}))
    inherited, whole = load_cfg(above), load_cfg(path)
    for key in flat(values):
        section, leaf = key.split(".")
        assert whole[section][leaf] != inherited[section][leaf], key


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*/*.yaml")), ids=lambda path: path.stem)
def test_fvcore_reads_the_same_inheritance(path):
    theirs = flat(CfgNode.load_yaml_with_base(str(path)))
    cfg = load_cfg(path)
    for key, value in theirs.items():
        section, leaf = key.split(".")
        ours = cfg[section][leaf]
        assert ours == (type(ours)(value) if isinstance(ours, float) else value), key
