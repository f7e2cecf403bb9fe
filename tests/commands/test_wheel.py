"""A wheel of this tree, installed away from it: configurations, doctor, toy videos, a training."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Smaller than the toy configuration: the way is tested, not what it leads to.
SMALL = (
    "SOLVER.MAX_EPOCH 1 SOLVER.WARMUP_EPOCHS 0.0 TRAIN.BATCH_SIZE 4 TEST.BATCH_SIZE 4 "
    "TABLE.WIDTHS [] TABLE.FRAMES [] TABLE.SIZES [] TABLE.SUBNETS ['1x8x48','0.35x6x32'] "
    "TABLE.LATENCY False TABLE.CASCADES False TABLE.CALIBRATION_BATCHES 1 "
    "MUTUAL.ALONE_EPOCHS 0 DATA_LOADER.NUM_WORKERS 0"
).split()


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Runs the installed command in a folder where nothing of this tree is found."""
    place = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # From a copy: building leaves files beside the sources.
    source = place / "source"
    source.mkdir()
    for name in ("mutualvideo", "configs", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        (source / name).symlink_to(ROOT / name)
    offline = ["--no-deps", "--no-index"]
    build = [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", place, source]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    into = place / "site"
    subprocess.run([*pip, "install", *offline, "--target", into, wheel], check=True)
    work = place / "work"
    work.mkdir()

    def run(*arguments):
        command = [sys.executable, into / "bin" / "mutualvideo", *arguments]
        done = subprocess.run(
            [*map(str, command)],
            cwd=work,
            env={**os.environ, "PYTHONPATH": str(into)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    run.work, run.site = work, into
    return run


@pytest.mark.slow
def test_from_an_empty_folder_to_a_film(installed):
    listed = installed("configs")
    assert len(listed.splitlines()) == len(list(ROOT.glob("configs/[!_]*/*.yaml")))
    path = installed("configs", "--path", "Kinetics/X3D_M_mutual").strip()
    assert Path(path) == installed.site / "mutualvideo/configs/Kinetics/X3D_M_mutual.yaml"
    assert "pyav: works" in installed("doctor", "--quick")
    installed("toy", "--output", "data", "--train", "8", "--val", "4", "--workers", "1")
    where = "DATA.PATH_TO_DATA_DIR", "data", "OUTPUT_DIR", "run"
    installed("train", "--cfg", "Toy/X3D_mutual", *where, *SMALL)
    video = "data/val/00001.mp4"
    assert "wrote " in installed("demo", "--run", "run", "--video", video, "--budget", "50M")
    assert f"{video}: " in installed("predict", video, "--run", "run", "--budget", "5M")
    films = {path.name for path in (installed.work / "output" / "demo").iterdir()}
    assert {"00001.mp4", "00001.csv"} <= films
