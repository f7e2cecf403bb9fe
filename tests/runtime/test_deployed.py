"""A folder of exported sub-networks answers as the checkpoint, and as nothing else."""

import importlib.metadata
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mutualvideo.backends.common.base import softmax
from mutualvideo.errors import InputError
from mutualvideo.export import export_folder, open_origin
from mutualvideo.runtime import AdaptiveRecognizer
from mutualvideo.runtime.deployed import locate
from mutualvideo.subnet import Subnet
from mutualvideo.table.cascade import CascadeCurve
from mutualvideo.table.fingerprint import fingerprint
from mutualvideo.table.query import QueryTable, Row
from tests.runtime.conftest import CLASSES, FULL, SUBNETS

ROOT = Path(__file__).resolve().parents[2]
NEEDS = {"openvino": ["openvino"], "onnx": ["onnxruntime", "onnx", "onnxscript"]}
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.trace:FutureWarning")

# What a machine without torch does; the source is named first, so that nothing is installed.
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import numpy as np
from mutualvideo.runtime import AdaptiveRecognizer
recognizer = AdaptiveRecognizer(sys.argv[1], device="cpu", backend=sys.argv[2] or None)
clips, scores = np.load(sys.argv[3]), {}
for row in recognizer.table:
    recognizer.set_budget(macs=row.macs, wait=True)
    prediction = recognizer.predict(clips)
    assert prediction.subnet == row.subnet
    scores[str(row.subnet)] = prediction.scores
np.savez(sys.argv[4], labels=prediction.class_names, **scores)
assert sys.modules["torch"] is None
"""


# What a machine has where the folder's requirements.txt alone was installed: nothing else can be
# imported, apart from Python's own library.
WITH_THE_REQUIREMENTS_ALONE = """
import sys
from pathlib import Path
there = {"PIL" if line.startswith("Pillow") else line.partition("==")[0]
         for line in Path(sys.argv[1], "requirements.txt").read_text().splitlines()
         if not line.startswith("#")}
there |= {"mutualvideo", *sys.stdlib_module_names}
class Nothing:
    def find_spec(self, name, path=None, target=None):
        first = name.partition(".")[0]
        if first not in there and not first.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"{first} is not installed", name=name)
sys.meta_path.insert(0, Nothing())
for name in ("torch", "fvcore", "yaml", "av", "simplejson"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{name} can be imported")
"""
WITHOUT_THE_REST = (
    WITH_THE_REQUIREMENTS_ALONE
    + """
import numpy as np
from mutualvideo import AdaptiveRecognizer, Service, Stream, StreamServer
recognizer = AdaptiveRecognizer(sys.argv[1])
clips, scores = np.load(sys.argv[2]), {}
for row in recognizer.table:
    recognizer.set_budget(macs=row.macs, wait=True)
    scores[str(row.subnet)] = recognizer.predict(clips).scores
clip = np.ascontiguousarray(clips[0].transpose(1, 2, 3, 0))
with Service(recognizer) as service:
    scores["service"] = service.submit(clip, macs=1e12).result().scores
server = StreamServer(recognizer, [Stream("door", rate=0.01)])
server.submit("door", clip)
scores["stream"] = server.answer()[1].scores
recognizer.set_budget(macs=1000, cascade=True, wait=True)
scores["cascade"] = recognizer.predict(clips).scores
np.savez(sys.argv[3], **scores)
"""
)


@pytest.fixture(scope="module")
def folders(source, tmp_path_factory):
    """format -> folder that is exported once."""
    made = {}

    def export(name):
        for package in NEEDS.get(name, ()):
            pytest.importorskip(package)
        if name not in made:
            path = tmp_path_factory.mktemp("exported") / name
            written = export_folder(source, name, path, report=lambda one: None)
            assert [one.subnet for one in written] == SUBNETS
            made[name] = path
        return made[name]

    return export


@pytest.fixture
def copied(folders, tmp_path):
    """A copy of a folder, to be damaged."""
    return Path(shutil.copytree(folders("torch_export"), tmp_path / "copy"))


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).integers(0, 256, (2, 3, 9, 50, 60), np.uint8)


@pytest.fixture(scope="module")
def expected(run, clips):
    """Scores of the checkpoint itself, in place in torch."""
    table = run / "query_table.json"
    recognizer = AdaptiveRecognizer(run / "c.pyth", table, device="cpu", backend="torch")
    return {str(s): recognizer.predict(clips, subnet=s).scores for s in SUBNETS}


@pytest.mark.parametrize(
    ("name", "backend"), [("openvino", ""), ("onnx", ""), ("onnx", "openvino")]
)
def test_answers_without_torch(folders, expected, clips, tmp_path, name, backend):
    pytest.importorskip(backend or "numpy")
    np.save(tmp_path / "clips.npy", clips)
    files = [folders(name), backend, tmp_path / "clips.npy", tmp_path / "out.npz"]
    command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, files)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = dict(np.load(tmp_path / "out.npz"))
    assert found.pop("labels").tolist() == CLASSES
    assert found.keys() == expected.keys()
    for subnet, scores in found.items():
        # The issue asks for 1e-3; rounding leaves less.
        np.testing.assert_allclose(scores, expected[subnet], atol=1e-4, err_msg=subnet)
    scores = np.concatenate(list(expected.values()))
    assert np.ptp(scores, 0).max() > 0.05 and scores.max() < 0.95


@pytest.mark.parametrize("name", ["openvino", "onnx"])
def test_requirements_are_all_that_is_needed(folders, expected, clips, tmp_path, name):
    folder = folders(name)
    np.save(tmp_path / "clips.npy", clips)
    files = [folder, tmp_path / "clips.npy", tmp_path / "out.npz"]
    command = [sys.executable, "-c", WITHOUT_THE_REST, *map(str, files)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = dict(np.load(tmp_path / "out.npz"))
    # The same runtime where everything is there: the same answers, and the checkpoint's.
    recognizer = AdaptiveRecognizer(folder)
    for subnet in SUBNETS:
        there = recognizer.predict(clips, subnet=subnet).scores
        np.testing.assert_allclose(found[str(subnet)], there, atol=1e-6)
        np.testing.assert_allclose(found[str(subnet)], expected[str(subnet)], atol=1e-4)
    for asked in ("service", "stream"):
        rows = [expected[str(subnet)][:1] for subnet in SUBNETS]
        assert min(np.abs(found[asked] - row).max() for row in rows) < 1e-4
    np.testing.assert_allclose(found["cascade"], expected[str(FULL)], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "packages"),
    [("openvino", ["openvino"]), ("onnx", ["onnxruntime"]), ("torch_export", None)],
)
def test_requirements_name_the_versions(folders, tmp_path, name, packages):
    folder = folders(name)
    file = folder / "requirements.txt"
    if packages is None:
        # It needs torch, and so the package as it is installed otherwise.
        assert not file.exists()
        return
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    names = ["numpy", "Pillow", *packages]
    assert lines == [f"{package}=={importlib.metadata.version(package)}" for package in names]
    # A folder of before has no such file, and whoever installs may loosen it.
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "requirements.txt").write_text("numpy\n")
    assert AdaptiveRecognizer(copy).backend.name == packages[0]
    (copy / "requirements.txt").unlink()
    assert AdaptiveRecognizer(copy).backend.name == packages[0]


@pytest.mark.parametrize(
    ("name", "backend"), [("openvino", "openvino"), ("onnx", "onnxruntime"), ("onnx", "openvino")]
)
def test_threads_reach_the_runtime(folders, expected, clips, name, backend):
    pytest.importorskip(backend)
    for threads in (1, 2):
        recognizer = AdaptiveRecognizer(folders(name), backend=backend, threads=threads)
        assert recognizer.backend.describe()["threads"] == threads
        assert recognizer.backend.prepare(FULL).threads == threads
        scores = recognizer.predict(clips, subnet=FULL).scores
        np.testing.assert_allclose(scores, expected[str(FULL)], atol=1e-4)
    assert AdaptiveRecognizer(folders(name), backend=backend).backend.describe()["threads"] is None


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_threads_of_a_checkpoint(run, backend):
    for package in NEEDS["onnx" if backend == "onnxruntime" else backend]:
        pytest.importorskip(package)
    recognizer = AdaptiveRecognizer(run, backend=backend, threads=2)
    # Not torch's number, which is 1 here.
    assert recognizer.backend.describe()["threads"] == 2
    assert recognizer.backend.prepare(SUBNETS[0]).threads == 2


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_threads_that_are_no_number_of_threads(folders, threads):
    with pytest.raises(InputError, match=f"^threads {threads!r}: must be an integer of at least 1"):
        AdaptiveRecognizer(folders("openvino"), threads=threads)


def test_torch_has_one_number_of_threads_for_the_process(folders, run):
    before = torch.get_num_threads()
    named = r"threads 3: backend '{}' cannot .* only onnxruntime, openvino can; .*num_threads\(3\)"
    with pytest.raises(InputError, match=named.format("torch-exported")):
        AdaptiveRecognizer(folders("torch_export"), threads=3)
    for backend in ("torch", "torch-extracted", "torch-compiled"):
        with pytest.raises(InputError, match=named.format(backend)):
            AdaptiveRecognizer(run, backend=backend, threads=3)
    assert torch.get_num_threads() == before


def test_cascades_of_what_is_in_the_folder(folders, clips):
    folder = folders("torch_export")
    saved = CascadeCurve.load_json(folder / "query_table.cascade.json")
    assert [point.cascade.stages for point in saved.points] == [tuple(SUBNETS)]
    recognizer = AdaptiveRecognizer(folder, device="cpu")
    recognizer.set_budget(macs=1000, cascade=True, wait=True)
    # None of these answers is sure.
    assert recognizer.predict(clips).subnets == (FULL, FULL)


def test_torch_export(folders, expected, clips):
    recognizer = AdaptiveRecognizer(folders("torch_export"), device="cpu")
    for subnet in SUBNETS:
        scores = recognizer.predict(clips, subnet=subnet).scores
        np.testing.assert_allclose(scores, expected[str(subnet)], atol=1e-4)
        runner = recognizer.backend.prepare(subnet)
        x = np.random.default_rng(0).standard_normal(runner.blank(3).shape, np.float32)
        np.testing.assert_allclose(runner(x), softmax(runner.logits(x)), atol=1e-6)
    assert recognizer.backend.describe()["backend"] == "torch-exported"
    data = recognizer.cfg.DATA
    # What the demo cuts clips by.
    assert (data.NUM_FRAMES, data.SAMPLING_RATE, data.TARGET_FPS, data.TEST_CROP_SIZE) == (
        FULL.frames,
        2,
        30,
        FULL.size,
    )


def test_table_and_manifest(folders, run):
    folder = folders("torch_export")
    table = QueryTable.load_json(folder / "query_table.json")
    original = QueryTable.load_json(run / "query_table.json")
    assert list(table) == [original[subnet] for subnet in SUBNETS]
    assert not {"checkpoint", "statistics"} & set(table.metadata)
    content = json.loads((folder / "manifest.json").read_text())
    assert (content["version"], content["kind"], content["classes"]) == (1, "torch_export", CLASSES)
    names = {file.name for file in folder.iterdir()} - {"manifest.json"}
    assert content["sha256"] == {name: fingerprint(folder / name) for name in sorted(names)}
    assert content["data"]["MEAN"] == [0.3, 0.4, 0.5]
    for row in content["rows"]:
        assert row["difference"]["scores"] < 1e-3 and set(row["files"]) <= names


def test_a_table_of_this_machine(folders, expected, clips):
    folder = folders("torch_export")
    table = QueryTable([Row(FULL, 10, 10, 50.0, 50.0, 4.0)], {"classes": CLASSES})
    recognizer = AdaptiveRecognizer(folder, table, device="cpu")
    assert recognizer.set_budget(ms=4).subnet == FULL
    assert recognizer.predict(clips).labels[0] in CLASSES
    with pytest.raises(InputError, match="holds no sub-network 0.7x6x40; it has 0.5x3x32, "):
        AdaptiveRecognizer(folder, QueryTable([Row(Subnet(0.7, 6, 40), 10, 10)]))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"backend": "openvino"}, "'openvino': .* torch_export models, which torch-exported can"),
        ({"backend": "abacus"}, "'abacus': .* torch_export models"),
        ({"precision": "bf16"}, "precision 'bf16': backend 'torch-exported' has fp32 here"),
        ({"device": "teapot"}, "device 'teapot'"),
    ],
)
def test_what_cannot_run_it(folders, arguments, named):
    with pytest.raises(InputError, match=named):
        AdaptiveRecognizer(folders("torch_export"), **arguments)


@pytest.mark.parametrize("name", ["0.5x3x32.pt2", "query_table.json"])
def test_damaged_or_missing_files_are_named(copied, name):
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: is not the file that was exported"):
        AdaptiveRecognizer(copied)
    (copied / name).unlink()
    with pytest.raises(InputError, match=f"{name}: cannot be read"):
        AdaptiveRecognizer(copied)


def changed(**keys):
    return lambda content: {**content, **keys}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (changed(version=2), "has version 2, this release reads 1: export it anew"),
        (changed(version=True), "has version True"),
        (changed(format="mutualvideo-query-table"), "is not a manifest"),
        (lambda content: [content], "is not a manifest"),
        (changed(kind="tflite"), "'tflite' models"),
        (changed(data={"NUM_FRAMES": 6}), "SAMPLING_RATE is None"),
        (changed(classes=["one"]), "classes must be null or 3 names"),
        (changed(sha256={}), "has no sha256"),
        (changed(rows=[{"subnet": "1x6x40"}]), "missing"),
        (changed(extra=1), "extra"),
        (lambda c: changed(sha256={**c["sha256"], "../x": "sha256:0"})(c), "'../x' is no file"),
    ],
)
def test_wrong_manifests(copied, change, named):
    path = copied / "manifest.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(InputError, match=named) as refused:
        AdaptiveRecognizer(copied)
    assert "\n" not in str(refused.value) and "copy" in str(refused.value)


def test_no_manifest(tmp_path, copied):
    with pytest.raises(InputError, match="folder without manifest.json"):
        AdaptiveRecognizer(tmp_path)
    # Of a training that was ended early.
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "checkpoint_epoch_00001.pyth").touch()
    with pytest.raises(InputError, match="a run without query_table.json yet: `mutualvideo eval"):
        locate(tmp_path)
    (copied / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="manifest.json: is not a JSON file"):
        AdaptiveRecognizer(copied)


def test_locate(run_dir, copied):
    assert locate(copied) == (copied, None)
    checkpoint, table = locate(run_dir)
    assert checkpoint == run_dir / "c.pyth" and len(table) == 4
    assert AdaptiveRecognizer(run_dir).set_budget(macs=1e12).subnet == table.rows[-2].subnet
    assert locate(None, "a.pyth", run_dir / "query_table.json")[0] == "a.pyth"
    with pytest.raises(InputError, match="both --checkpoint and --table"):
        locate(None, "a.pyth")
    with pytest.raises(InputError, match="holds exported sub-networks already"):
        open_origin(copied)
    with pytest.raises(InputError, match="give the query table"):
        AdaptiveRecognizer(run_dir / "c.pyth")
