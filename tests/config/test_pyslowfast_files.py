"""PySlowFast's configs/ folder: every file makes the same network here, or is refused and told why.

``pyslowfast_files.tsv`` lists, for each file, what in it decides about that and is not usual; the
usual values are below. Both are lists of our own: none of the files is here. The verdicts are
``docs/pyslowfast_files.md``; run this module to write it anew.
"""

import ast
import logging
import re
from pathlib import Path

import pytest
import torch
import yaml

from mutualvideo.config import get_cfg, load_cfg
from mutualvideo.config.foreign_files import FOREIGN
from mutualvideo.config.foreign_keys import FREE, ONLY
from mutualvideo.engine.optimizer import check_schedule, check_solver
from mutualvideo.errors import InputError
from mutualvideo.models.model_registry import network_of

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "pyslowfast_files.md"
LISTS = Path(__file__).with_name("pyslowfast_files.tsv")

USUAL = {
    "NUM_GPUS": 8,
    "NUM_SHARDS": 1,
    "LOG_MODEL_INFO": False,
    "BN.USE_PRECISE_STATS": True,
    "DATA.TRAIN_CROP_SIZE": 224,
    "DATA.TEST_CROP_SIZE": 256,
    "MODEL.NUM_CLASSES": 400,
    "MODEL.LOSS_FUNC": "cross_entropy",
    "MODEL.DROPOUT_RATE": 0.5,
    "SOLVER.BASE_LR_SCALE_NUM_SHARDS": True,
    "SOLVER.BASE_LR": 0.1,
    "SOLVER.WEIGHT_DECAY": "1e-4",
    "SOLVER.LR_POLICY": "cosine",
    "SOLVER.MAX_EPOCH": 196,
    "SOLVER.WARMUP_EPOCHS": 34.0,
    "SOLVER.OPTIMIZING_METHOD": "sgd",
    "TRAIN.DATASET": "kinetics",
    "TEST.DATASET": "kinetics",
    "TRAIN.CHECKPOINT_TYPE": "pytorch",
    "DATA_LOADER.PIN_MEMORY": True,
}
X3D = {
    "X3D.WIDTH_FACTOR": 2.0,
    "X3D.BOTTLENECK_FACTOR": 2.25,
    "X3D.DIM_C5": 2048,
    "X3D.DIM_C1": 12,
    "RESNET.TRANS_FUNC": "x3d_transform",
}
ONE = {
    "RESNET.DEPTH": 50,
    "RESNET.NUM_GROUPS": 1,
    "RESNET.WIDTH_PER_GROUP": 64,
    "RESNET.STRIDE_1X1": False,
    "RESNET.ZERO_INIT_FINAL_BN": True,
    "RESNET.TRANS_FUNC": "bottleneck_transform",
    "RESNET.NUM_BLOCK_TEMP_KERNEL": [[3], [4], [6], [3]],
    "RESNET.SPATIAL_STRIDES": [[1], [2], [2], [2]],
    "RESNET.SPATIAL_DILATIONS": [[1], [1], [1], [1]],
    "NONLOCAL.LOCATION": [[[]], [[]], [[]], [[]]],
    "NONLOCAL.GROUP": [[1], [1], [1], [1]],
    "NONLOCAL.INSTANTIATION": "softmax",
    "DATA.INPUT_CHANNEL_NUM": [3],
}
TWO = {
    **{key: [stage * 2 for stage in v] if isinstance(v, list) else v for key, v in ONE.items()},
    "NONLOCAL.LOCATION": [[[], []], [[], []], [[], []], [[], []]],
    "DATA.INPUT_CHANNEL_NUM": [3, 3],
    "SLOWFAST.BETA_INV": 8,
    "SLOWFAST.FUSION_CONV_CHANNEL_RATIO": 2,
}
FAMILIES = {"x3d": X3D, "slowfast": TWO, "mvit": {}}


def lists():
    """``{file: {key: value}, or None where the file is no YAML}``."""
    found = {}
    for line in LISTS.read_text().splitlines():
        name, _, pairs = line.partition("\t")
        found[name] = None
        if pairs.startswith("("):
            continue
        given = dict(pair.split("=", 1) for pair in pairs.split("\t"))
        values = {**USUAL, **FAMILIES.get(given.get("MODEL.ARCH"), ONE)}
        for key, text in given.items():
            if key == "TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN":  # a text there too
                values[key] = text
                continue
            try:
                values[key] = ast.literal_eval(text)
            except (ValueError, SyntaxError):
                values[key] = text
        found[name] = values
    return found


def as_yaml(values):
    """Text of a file that holds these."""
    if values is None:
        return "TRAIN:\n  ENABLE: True\n OTHER: 1\n"
    tree = {}
    for key, value in values.items():
        *sections, leaf = key.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        node[leaf] = value
    return yaml.safe_dump(tree)


def millions(cfg, known={}):  # noqa: B006  (what was counted before)
    """Parameters of the network of a configuration, in millions."""
    sections = ("MODEL", "X3D", "RESNET", "NONLOCAL", "SLOWFAST", "BN")
    key = str([cfg[section] for section in sections])
    if key not in known:
        with torch.device("meta"):
            network = network_of(cfg).build(cfg)
        known[key] = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    return known[key]


def verdict(path):
    """(verdict, reason) of a file."""
    try:
        cfg = load_cfg(path)
        check_schedule(cfg.SOLVER)
        check_solver(cfg.SOLVER)
        count = millions(cfg)
    except InputError as error:
        text = " ".join(str(error).split())
        if "not a YAML file" in text:
            return "refused", "not a YAML file"
        return "refused", text.removeprefix(f"{path}: ")
    what = [cfg.MODEL.MODEL_NAME, cfg.MODEL.ARCH]
    if cfg.MODEL.ARCH != "x3d":
        what.append(f"R{cfg.RESNET.DEPTH}")
    if cfg.RESNET.NUM_BLOCK_TEMP_KERNEL:
        what.append(f"temporal kernels {cfg.RESNET.NUM_BLOCK_TEMP_KERNEL}")
    if cfg.NONLOCAL.LOCATION:
        what.append(f"{cfg.NONLOCAL.INSTANTIATION} non-local blocks")
    return "loads", f"{', '.join(what)}; {count:.2f} M parameters; {cfg.TRAIN.DATASET}"


HEAD = """# PySlowFast's files here

Of every file in PySlowFast's `configs/`: whether `--cfg` takes it as it is, and the network that it
makes, or why not. A test remakes this table. What each of PySlowFast's keys means here, and why, is
in `mutualvideo/config/foreign_keys.py`.

| file | verdict | what or why |
| --- | --- | --- |
"""


def table(folder):
    rows = []
    for name, values in lists().items():
        path = folder / "file.yaml"
        path.write_text(as_yaml(values))
        found, reason = verdict(path)
        rows.append(f"| `{name}.yaml` | {found} | {reason.replace('|', '/')} |\n")
    return HEAD + "".join(rows)


def test_the_table_of_verdicts(tmp_path, caplog):
    with caplog.at_level(logging.ERROR):
        assert table(tmp_path) == TABLE.read_text()


def test_refusals_name_what_is_not_offered_and_advise_nothing_else(tmp_path):
    for line in TABLE.read_text().splitlines():
        if "| refused |" in line:
            assert "unknown key" not in line and "nearest" not in line and "set it to" not in line


# Millions of parameters of networks that PySlowFast's and PyTorchVideo's model zoos publish.
@pytest.mark.parametrize(
    "name, published",
    [
        ("Kinetics/SLOW_8x8_R50", 32.45),
        ("Kinetics/SLOWFAST_4x16_R50", 34.48),
        ("Kinetics/SLOWFAST_8x8_R50", 34.57),
        ("Kinetics/pytorchvideo/SLOWFAST_8x8_R101", 62.83),
        ("Kinetics/pytorchvideo/SLOWFAST_16x8_R101_50_50", 53.77),
        ("Kinetics/pytorchvideo/I3D_8x8_R50", 28.04),
        ("Kinetics/pytorchvideo/C2D_8x8_R50", 24.33),
        ("Kinetics/pytorchvideo/X3D_L", 6.15),
        ("Kinetics/X3D_M", 3.79),
    ],
)
def test_published_sizes(name, published):
    (line,) = [one for one in TABLE.read_text().splitlines() if f"| `{name}.yaml` |" in one]
    assert f"; {published:.2f} M parameters" in line


def test_no_key_is_in_two_lists():
    ours = {
        f"{section}.{leaf}"
        for section, node in get_cfg().items()
        if hasattr(node, "items")
        for leaf in node
    }
    assert not FREE.keys() & ONLY.keys() and not FOREIGN & ours
    assert all(reason for reason in FREE.values()) and all(rule[1] for rule in ONLY.values())


@pytest.mark.parametrize("key", [key for key in ONLY if key != "TASK"])
def test_values_that_decide_pass_only_where_they_say_what_is_so(key):
    def text_of(value):
        value = list(value) if type(value) is tuple else value
        return value if isinstance(value, str) else str(value)

    for allowed in ONLY[key][0]:
        load_cfg(None, [key, text_of(allowed)])
    allowed = ONLY[key][0][0]
    other = {bool: not allowed, str: "other"}.get(type(allowed), [[7]] * 4)
    other = 7 if type(allowed) in (int, float) else other
    with pytest.raises(InputError, match=f"command line: {key} .*: {re.escape(ONLY[key][1])}"):
        load_cfg(None, [key, text_of(other)])


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["RESNET.TRANS_FUNC", "basic_transform"], "blocks of this network are bottleneck"),
        (["MODEL.ARCH", "x3d", "RESNET.TRANS_FUNC", "bottleneck_transform"], "are x3d_transform"),
        (["AUG.ENABLE", "True", "AUG.INTERPOLATION", "bicubic"], "sampled bilinearly"),
        (
            ["NUM_GPUS", "8", "BN.NORM_TYPE", "sync_batchnorm", "BN.NUM_SYNC_DEVICES", "4"],
            "statistics are those of all processes together .8",
        ),
        (
            ["MODEL.MODEL_NAME", "PTVResNet", "NONLOCAL.LOCATION", "[[[]], [[1]], [[]], [[]]]"],
            "PTVResNet has no non-local blocks",
        ),
        (["MODEL.MODEL_NAME", "PTVCSN"], "MODEL.MODEL_NAME 'PTVCSN': channel-separated"),
        (["TRAIN.DATASET", "ava"], "TRAIN.DATASET 'ava': detection is not offered"),
        (["SOLVER.CLIP_GRAD_VAL", "1.0"], "clipped by their norm"),
        (
            ["NUM_SHARDS", "8", "TRAIN.BATCH_SIZE", "128"],
            "NUM_SHARDS 8: each of so many machines takes TRAIN.BATCH_SIZE 128 clips a step there",
        ),
    ],
)
def test_values_that_are_refused_beside_others(overrides, message):
    with pytest.raises(InputError, match=message):
        load_cfg(None, overrides)


def test_what_an_augmented_file_does_not_name_is_their_default(tmp_path):
    """rand-m9-mstd0.5-inc1, timm's two operations, and bicubic: slowfast/config/defaults.py."""
    text = "MODEL: {ARCH: slow}\nNUM_GPUS: 8\nAUG: {ENABLE: True"
    (tmp_path / "a.yaml").write_text(text + "}\n")
    with pytest.raises(InputError, match="where AUG.INTERPOLATION is not named bicubically there"):
        load_cfg(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text(text + ", INTERPOLATION: bilinear}\n")
    assert load_cfg(tmp_path / "a.yaml").AUG.AA_TYPE == "rand-m9-mstd0.5-inc1"
    (tmp_path / "a.yaml").write_text(text + ", INTERPOLATION: bilinear, AA_TYPE: rand-m7-n4}\n")
    assert load_cfg(tmp_path / "a.yaml").AUG.AA_TYPE == "rand-m7-n4"


def test_an_override_takes_back_what_a_file_asks_for(tmp_path):
    (tmp_path / "a.yaml").write_text("DETECTION: {ENABLE: True}\nMODEL: {ARCH: slow}\n")
    with pytest.raises(InputError, match="a.yaml: DETECTION.ENABLE True: detection is not"):
        load_cfg(tmp_path / "a.yaml")
    cfg = load_cfg(tmp_path / "a.yaml", ["DETECTION.ENABLE", "False"])
    assert (cfg.MODEL.MODEL_NAME, cfg.MODEL.ARCH) == ("ResNet", "slow")


@pytest.mark.parametrize(
    "overrides, name, arch",
    [
        ([], "X3D", "x3d"),  # the default here, where nothing is PySlowFast's
        (["NUM_GPUS", "8"], "SlowFast", "slowfast"),  # and there
        (["MODEL.ARCH", "slowfast"], "SlowFast", "slowfast"),
        (["MODEL.ARCH", "i3d"], "ResNet", "i3d"),
        (["MODEL.ARCH", "x3d"], "X3D", "x3d"),
        (["MODEL.MODEL_NAME", "SlowFast"], "SlowFast", "slowfast"),
        (["MODEL.MODEL_NAME", "PTVX3D"], "X3D", "x3d"),
        (["MODEL.MODEL_NAME", "PTVResNet", "MODEL.ARCH", "c2d"], "ResNet", "c2d"),
        (["MODEL.MODEL_NAME", "PTVSlowFast"], "SlowFast", "slowfast"),
        (["MODEL.MODEL_NAME", "ResNet", "MODEL.ARCH", "2d"], "ImageResNet", "2d"),
        (["MODEL.MODEL_NAME", "MobileNetV1"], "MobileNetV1", "2d"),
    ],
)
def test_names_of_networks(overrides, name, arch):
    cfg = load_cfg(None, overrides)
    assert (cfg.MODEL.MODEL_NAME, cfg.MODEL.ARCH) == (name, arch)


@pytest.mark.parametrize(
    "name, here",
    [
        ("ptvkinetics", "kinetics"),
        ("ptvcharades", "charades"),
        ("ptvssv2", "ssv2"),
        ("imagenet", "imagefolder"),
        ("kinetics", "kinetics"),
    ],
)
def test_names_of_data_sets(name, here):
    cfg = load_cfg(None, ["TRAIN.DATASET", name, "TEST.DATASET", name])
    assert cfg.TRAIN.DATASET == cfg.TEST.DATASET == here


def test_what_absent_keys_of_its_files_mean(tmp_path, caplog):
    (tmp_path / "a.yaml").write_text(
        "NUM_GPUS: 8\nTRAIN: {MIXED_PRECISION: True}\nRESNET: {DEPTH: 101}\n"
        "MODEL: {ARCH: slow, MODEL_NAME: ResNet}\nDATA: {PATH_TO_DATA_DIR: }\n"
    )
    cfg = load_cfg(tmp_path / "a.yaml")
    assert (cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE, cfg.DATA.TEST_CROP_SIZE) == (8, 8, 256)
    assert cfg.TRAIN.PRECISION == "float16" and cfg.DATA.PATH_TO_DATA_DIR == ""
    assert cfg.RESNET.NUM_BLOCK_TEMP_KERNEL == [[3], [4], [6], [3]]
    assert "that were translated: DATA.NUM_FRAMES 8" in caplog.text


@pytest.mark.parametrize("text", ["", "NUM_GPUS: 2\nTENSORBOARD: {ENABLE: True}\n"])
@pytest.mark.parametrize("overrides", [[], ["NUM_GPUS", "2"]])
def test_its_keys_beside_a_file_of_ours_leave_the_rest_as_it_is(tmp_path, text, overrides):
    """What is based on nothing decides what absent keys mean."""
    base = ROOT / "configs" / "Toy" / "X3D_mutual.yaml"
    (tmp_path / "a.yaml").write_text(f"_BASE_: {base}\n{text}")
    assert load_cfg(tmp_path / "a.yaml", overrides) == load_cfg(base)


def test_a_file_that_is_based_on_one_of_its_own_means_what_that_means(tmp_path):
    (tmp_path / "base.yaml").write_text("NUM_GPUS: 8\n")
    (tmp_path / "a.yaml").write_text("_BASE_: base.yaml\nDATA: {SAMPLING_RATE: 4}\n")
    cfg = load_cfg(tmp_path / "a.yaml", ["NUM_GPUS", "2"])
    assert (cfg.MODEL.MODEL_NAME, cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE) == ("SlowFast", 8, 4)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        TABLE.write_text(table(Path(place)))
