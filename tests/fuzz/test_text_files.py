"""Whatever a list, configuration or table holds, reading it ends soon: with what was read, or with
an ``InputError``."""

import json
import os

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from mutualvideo import QueryTable, Subnet, load_cfg
from mutualvideo.config import get_cfg
from mutualvideo.config.load import cfg_from_dict
from mutualvideo.data.annotations import read_annotations
from mutualvideo.data.sources import read_videos
from mutualvideo.runtime.manifest import Manifest
from mutualvideo.table.cascade import CascadeCurve
from tests.fuzz.given_files import DIGITS, NAMES, TREES, damaged, fuzz, places, reads, replaced

# Lists

LINES = st.lists(
    st.builds(
        "{}{}{}".format,
        NAMES,
        st.sampled_from([" ", ",", "", "  "]),
        st.integers(-2, 12) | NAMES | st.just(DIGITS),
    ),
    max_size=5,
).map("\n".join)


@fuzz
@given(
    LINES.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=60),
    st.sampled_from(["", "/videos"]),
    st.booleans(),
)
@example(b"a.mp4 " + DIGITS.encode(), "", False)
@example("a.mp4 \u0663".encode(), "/videos", False)
def test_lists_of_videos(tmp_path, content, prefix, allowed):
    path = tmp_path / "train.csv"
    path.write_bytes(content)
    found = reads(read_annotations, path, " ", prefix, 10, allowed)
    for video in found or []:
        assert 0 <= video.label < 10 and "\0" not in video.path
        if prefix and not allowed:
            assert os.path.normpath(video.path).startswith("/videos")


@fuzz
@given(st.data())
@example(None)
def test_lists_of_other_sources(tmp_path, data):
    cfg = get_cfg()
    cfg.DATA.PATH_TO_DATA_DIR, cfg.DATA.PATH_PREFIX = str(tmp_path), "/videos"
    cfg.MODEL.NUM_CLASSES = 2
    files = {
        "classInd.txt": "1 A\n2 B\n",
        "trainlist01.txt": "A/../../a.avi 1\n",
        "A_test_split1.txt": "../../a.avi 1\n",
        "B_test_split1.txt": "b.avi 1\n",
        "something-something-v2-labels.json": '{"a": "0", "b": Infinity}',
        "something-something-v2-train.json": "[" * 5000,
        "train.csv": 'original_vido_id video_id frame_id path labels\na 0 0 ../../a/1.jpg "0"\n',
    }
    for name, text in files.items():
        content = text.encode()
        if data is not None and data.draw(st.booleans()):
            content = data.draw(damaged(content) | st.binary(max_size=30))
        (tmp_path / name).write_bytes(content)
    for source in ("ucf101", "hmdb51", "ssv2", "charades", "kinetics"):
        for video in getattr(reads(read_videos, source, cfg, "train"), "videos", []):
            assert os.path.normpath(video.path).startswith("/videos")


# Configurations


@fuzz
@given(
    st.dictionaries(
        st.sampled_from([*get_cfg(), "X"]),
        TREES
        | st.dictionaries(
            st.sampled_from(
                [
                    key
                    for section in get_cfg().values()
                    if isinstance(section, dict)
                    for key in section
                ]
            )
            | NAMES,
            TREES,
            max_size=4,
        ),
        max_size=4,
    )
)
def test_trees_as_configurations(tmp_path, tree):
    reads(cfg_from_dict, tree, "a checkpoint")
    path = tmp_path / "some.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8", errors="replace")
    reads(load_cfg, path)


# Every alias refers to nine of the one before: 9 ** 12 values, in 400 bytes.
LAUGHS = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 13)
)


@fuzz
@given(
    damaged(b"MODEL: {NUM_CLASSES: 7}\nSOLVER: &s {BASE_LR: 5e-5}\nTABLE:\n  SIZES: [64, 48]\n")
    | st.binary(max_size=40)
    | st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace"))
)
@example(b"MODEL: {NUM_CLASSES: " + DIGITS.encode() + b"}")
@example(b"MODEL: {NUM_CLASSES: 0x" + b"f" * 5000 + b"}")
@example(b"OUTPUT_DIR: 0x" + b"f" * 5000)
@example(b"EXTENSIONS: " + b"9" * 400)
@example(b"RNG_SEED: 0" + b"7" * 6000)
@example(b"MODEL: 2001-99-99")
@example(b"MODEL: !!timestamp x")
@example(b"MODEL: !!int ''")
@example(b"MODEL: !!bool x")
@example(b"MODEL: !!python/object/apply:os.system ['false']")
@example(b"[" * 5000)
@example(b"MODEL: &m {A: *m}")
@example(b"? &m [*m]\n: 1")
@example(b"MODEL: {NUM_CLASSES: &m [*m]}")
@example(LAUGHS.encode() + b"MODEL: {NUM_CLASSES: *a12}")
@example(LAUGHS.replace("a12: ", "MODEL: ").encode())
@example(b"SOLVER: {" + b"x" * 100_000 + b": 1}")
def test_bytes_as_configurations(tmp_path, content):
    path = tmp_path / "some.yaml"
    path.write_bytes(content)
    reads(load_cfg, path)


@fuzz
@given(
    st.sampled_from(["SOLVER.BASE_LR", "TABLE.SIZES", "MUTUAL.WIDTH_RANGE", "OUTPUT_DIR", "X"]),
    st.text(max_size=30) | TREES.map(repr),
)
@example("OUTPUT_DIR", "{[]: 1}")
@example("TABLE.SIZES", "[" * 5000)
@example("SOLVER.BASE_LR", "0x" + "f" * 5000)
@example("MUTUAL.WIDTH_RANGE", f"[1{'0' * 400}, 1]")
def test_overrides(key, text):
    reads(load_cfg, None, [key, text])


# Tables

ROW = {"subnet": "0.5x4x16", "macs": 5, "params": 3, "top1": 50.0, "latency_ms": 1.5}
POINT = {
    "budget_macs": 5,
    "cascade": {"stages": ["1x4x16"], "thresholds": []},
    "static": "1x4x16",
    "avg_macs": 5.0,
    "top1": 1.0,
    "static_macs": 5.0,
    "static_top1": 1.0,
    "gain_error": 0.0,
}
DOCUMENTS = {
    QueryTable.load_json: {
        "format": "mutualvideo-query-table",
        "version": 2,
        "metadata": {"classes": ["a"]},
        "rows": [ROW],
    },
    CascadeCurve.load_json: {
        "format": "mutualvideo-cascades",
        "version": 1,
        "metadata": {},
        "points": [POINT],
    },
    Manifest.load: {
        "format": "mutualvideo-exported",
        "version": 1,
        "kind": "onnx",
        "model": "X3D",
        "num_classes": 1,
        "classes": ["a"],
        "versions": {},
        "input": "",
        "output": "",
        "data": {
            "NUM_FRAMES": 4,
            "SAMPLING_RATE": 1,
            "TARGET_FPS": 30,
            "TEST_CROP_SIZE": 16,
            "TEST_CROP_SHARE": 1.0,
            "MEAN": [0.4],
            "STD": [0.2],
        },
        "rows": [
            {"subnet": "1x4x16", "frames": 4, "size": 16, "files": ["a.onnx"], "difference": {}}
        ],
        "sha256": {"a.onnx": "sha256:0", "query_table.json": "sha256:0"},
    },
}


def write_document(folder, load, content):
    """Where ``load`` finds ``content``: a manifest is found by its folder."""
    path = folder / ("manifest.json" if load == Manifest.load else "table.json")
    path.write_bytes(content)
    return folder if load == Manifest.load else path


@pytest.mark.parametrize("load", DOCUMENTS, ids=lambda load: load.__qualname__.split(".")[0])
@fuzz
@given(data=st.data())
def test_documents(tmp_path, load, data):
    whole = DOCUMENTS[load]
    assert reads(load, write_document(tmp_path, load, json.dumps(whole).encode())) is not None
    if data.draw(st.booleans()):
        path = data.draw(st.sampled_from(list(places(whole))))
        content = json.dumps(replaced(whole, path, data.draw(TREES))).encode()
    else:
        content = data.draw(damaged(json.dumps(whole).encode()) | st.binary(max_size=40))
    found = reads(load, write_document(tmp_path, load, content))
    if isinstance(found, QueryTable) and len(found):
        reads(found.best, macs=10**6)
        reads(found.pareto)
        for key in ("checkpoint", "statistics"):
            reads(found.path_of, key)


@pytest.mark.parametrize("load", DOCUMENTS, ids=lambda load: load.__qualname__.split(".")[0])
@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000,
        '{"a":' * 5000,
        DIGITS,
        f'"{"9" * 100_000}"',
        "[" * 900 + "]" * 900,
        "NaN",
    ],
    ids=lambda text: text[:5],
)
def test_what_is_hard_to_read(tmp_path, load, text):
    whole = json.dumps(DOCUMENTS[load])
    reads(load, write_document(tmp_path, load, text.encode()))
    for part in ('"1x4x16"', '"0.5x4x16"', "5"):
        reads(load, write_document(tmp_path, load, whole.replace(part, text).encode()))


@given(st.text(max_size=30) | TREES)
@fuzz
@example("9" * 100_000)
@example("\u0663x\u0664x\u0665")
@example("nanx4x16")
def test_names_of_sub_networks(value):
    found = reads(Subnet.parse, value)
    assert found is None or Subnet.parse(str(found)) == found
