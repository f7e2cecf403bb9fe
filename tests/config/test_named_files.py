"""Configurations that are found by name, wherever the command is called."""

from pathlib import Path

import pytest

from mutualvideo.commands.command_line import main
from mutualvideo.comparison.plan import read_plan
from mutualvideo.config import load_cfg
from mutualvideo.config.named_files import find_config, named_configs
from mutualvideo.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_training_has_a_name_and_a_line():
    paths = {path for path in ROOT.glob("configs/*/*.yaml") if path.parent.name != "_base_"}
    found = named_configs()
    assert {Path(find_config(name)) for name in found} == paths
    assert all(len(about) > 20 and not about.startswith("#") for about in found.values())


@pytest.mark.parametrize("form", ["{}", "{}.yaml", "configs/{}", "configs/{}.yaml"])
def test_a_name_in_any_form(form):
    name = "Kinetics/X3D_M_mutual"
    assert load_cfg(form.format(name)) == load_cfg(ROOT / "configs" / f"{name}.yaml")


def test_a_file_of_ones_own_comes_first(tmp_path):
    own = tmp_path / "configs" / "Toy" / "X3D_mutual.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("RNG_SEED: 77\n")
    assert load_cfg("configs/Toy/X3D_mutual.yaml").RNG_SEED == 77
    assert load_cfg("Toy/X3D_mutual").RNG_SEED == 0


def test_a_file_may_be_based_on_a_name(tmp_path):
    (tmp_path / "own.yaml").write_text("_BASE_: Toy/X3D_mutual\nRNG_SEED: 5\n")
    cfg, expected = load_cfg("own.yaml"), load_cfg("Toy/X3D_mutual", ["RNG_SEED", "5"])
    assert cfg == expected


def test_a_plan_may_be_based_on_a_name(tmp_path):
    (tmp_path / "plan.yaml").write_text("BASE: Toy/X3D_mutual\nARMS: {mutual: {}}\n")
    assert len(read_plan("plan.yaml").runs) == 1


@pytest.mark.parametrize(
    "given, words",
    [
        ("Kinetics/X3D_M_mutal", "did you mean Kinetics/X3D_M_mutual"),
        ("X3D_hard_mutual", "did you mean Toy/X3D_hard_mutual?"),
        ("qqqq.yaml", "`mutualvideo configs` lists those"),
        ("../setup", "no such config file"),
    ],
)
def test_what_is_none(given, words):
    with pytest.raises(InputError, match="no such config file") as caught:
        load_cfg(given)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_the_list(capsys):
    assert main(["configs", "kinetics", "slowfast_4x16"]) is None
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "Kinetics/SLOWFAST_4x16_R50_mutual",
        "Kinetics/SLOWFAST_4x16_R50_single",
    ]
    assert "Mutual training: every width" in lines[0]
    assert main(["configs", "nothing-like-this"]) == 1
