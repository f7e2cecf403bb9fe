"""export as a command, and the demo of what it wrote."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mutualvideo.commands.tool import run_tool
from mutualvideo.export import Origin
from mutualvideo.table.query import QueryTable
from tests.runtime.conftest import run_dir, tiny_cfg, write_video  # noqa: F401  (fixtures)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tool(monkeypatch, capsys):
    """Runs a tool in this process: exit code, lines of standard output, standard error."""

    def run(name, *arguments):
        spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            run_tool(module.main)
        out, error = capsys.readouterr()
        return stopped.value.code or 0, out.splitlines(), error

    return run


@pytest.fixture
def pruned(run_dir, tmp_path):  # noqa: F811
    """Path of a table of the run whose rows are all calibrated."""
    table = QueryTable.load_json(run_dir / "query_table.json")
    paths = {key: str(run_dir / table.metadata[key]) for key in ("checkpoint", "statistics")}
    path = tmp_path / "table.json"
    QueryTable(table.rows[:-1], {**table.metadata, **paths}).save_json(path)
    return path


def test_one_file_by_budget(tool, run_dir, pruned, tmp_path):  # noqa: F811
    table, path = QueryTable.load_json(pruned), tmp_path / "out/net.pth"
    budget = table.rows[1].macs + 1
    code, out, error = tool(
        "export",
        "--checkpoint",
        run_dir / "c.pyth",
        "--table",
        pruned,
        "--budget",
        budget,
        "--format",
        "pytorchvideo",
        "--output",
        path,
    )
    assert (code, error) == (0, "")
    assert out[0].startswith("0.75x6x32") and "difference: scores " in out[0]
    assert out[1] == f"wrote {path} and {path.with_suffix('.py')}"
    assert path.exists()


def test_a_folder_and_its_demo(tool, pruned, write_video, tmp_path, monkeypatch):  # noqa: F811
    folder, video = tmp_path / "folder", write_video("v.mp4", 30)
    code, out, error = tool(
        "export",
        "--run",
        tmp_path,
        "--table",
        pruned,
        "--folder",
        "--format",
        "torch_export",
        "--output",
        folder,
    )
    assert (code, error) == (0, "")
    assert len(out) == 4 and out[-1] == f"wrote {folder}: 3 sub-networks, manifest.json"
    code, out, error = tool(
        "demo", "--run", folder, "--source", video, "--budget", "1G", "--output", tmp_path / "demo"
    )
    assert code == 0 and "1x6x40" in out[1]
    assert (tmp_path / "demo/v.csv").exists() and (tmp_path / "demo/v.mp4").exists()
    # Its page: there is no list of a data set to take samples from.
    served = []
    page = SimpleNamespace(serve=lambda recognizer, samples, *how, **more: served.append(samples))
    monkeypatch.setitem(sys.modules, "mutualvideo.web.app", page)
    assert tool("demo", "--run", folder, "--web") == (0, [], "") and served == [{}]


def test_a_difference_is_exit_code_1(tool, run_dir, tmp_path, monkeypatch):  # noqa: F811
    expected = Origin.logits
    monkeypatch.setattr(Origin, "logits", lambda *a: expected(*a) + np.float32(0.5))
    path = tmp_path / "a.pth"
    given = ["--run", run_dir, "--subnet", "1x6x40", "--format", "pytorchvideo", "--output", path]
    code, out, error = tool("export", *given)
    assert (code, out) == (1, []) and not list(tmp_path.iterdir())
    assert error.startswith("error: sub-network 1x6x40: the exported file differs")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--subnet", "0.9x6x40"], "0.9x6x40 is not in the table; it has 0.5x3x32"),
        (["--subnet", "0.5x6x40"], "0.5x6x40 was never calibrated"),
        (["--budget", "5"], "below the cheapest sub-network, 0.5x3x32 at"),
        (["--budget", "0.1ms"], "below the cheapest sub-network, 0.5x3x32 at 2.0 ms"),
        (["--folder", "--rows", "all"], "0.5x6x40 was never calibrated"),
        # Both widths become 8, so PyTorchVideo builds no BatchNorm in a shortcut.
        (["--subnet", "0.5x3x32", "--format", "pytorchvideo"], "another network of these widths"),
        (["--subnet", "one"], "expected WIDTHxFRAMESxSIZE"),
        (["--budget", "one"], "expected multiply-adds"),
    ],
)
def test_bad_input_is_one_line(tool, run_dir, tmp_path, arguments, named):  # noqa: F811
    path = tmp_path / ("a.pth" if "pytorchvideo" in arguments else "a.pt2")
    given = ["--run", run_dir, "--format", "torch_export", "--output", path, *arguments]
    code, out, error = tool("export", *given)
    assert (code, out) == (2, []) and named in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
