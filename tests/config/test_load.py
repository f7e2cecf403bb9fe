"""Configuration files and overrides."""

import logging

import pytest

from mutualvideo.config import get_cfg, load_cfg
from mutualvideo.config.load import cfg_from_dict, cfg_to_dict
from mutualvideo.errors import InputError

# The keys that PySlowFast's Kinetics files set and that mean nothing here.
PYSLOWFAST = """
TRAIN: {ENABLE: True, DATASET: kinetics, BATCH_SIZE: 64, CHECKPOINT_TYPE: pytorch}
DATA: {NUM_FRAMES: 32, INPUT_CHANNEL_NUM: [3, 3], DECODING_BACKEND: torchvision}
SLOWFAST: {ALPHA: 8, BETA_INV: 8, FUSION_CONV_CHANNEL_RATIO: 2, FUSION_KERNEL_SZ: 5}
RESNET: {ZERO_INIT_FINAL_BN: True, DEPTH: 50, TRANS_FUNC: bottleneck_transform,
         NUM_BLOCK_TEMP_KERNEL: [[3, 3], [4, 4], [6, 6], [3, 3]]}
NONLOCAL: {LOCATION: [[[], []], [[], []], [[], []], [[], []]], INSTANTIATION: dot_product}
BN: {USE_PRECISE_STATS: True, NUM_BATCHES_PRECISE: 200, NORM_TYPE: sub_batchnorm}
SOLVER: {BASE_LR_SCALE_NUM_SHARDS: True, WEIGHT_DECAY: 1e-4, WARMUP_EPOCHS: 34.0, MAX_EPOCH: 196}
MODEL: {NUM_CLASSES: 400, ARCH: slowfast, MODEL_NAME: SlowFast}
NUM_GPUS: 8
NUM_SHARDS: 1
"""


# The same of its Something-Something files.
PYSLOWFAST_SSV2 = """
TRAIN: {DATASET: ssv2, BATCH_SIZE: 16, CHECKPOINT_TYPE: caffe2, CHECKPOINT_EPOCH_RESET: True}
DATA: {NUM_FRAMES: 64, SAMPLING_RATE: 2, INPUT_CHANNEL_NUM: [3, 3], INV_UNIFORM_SAMPLE: True,
       RANDOM_FLIP: False, REVERSE_INPUT_CHANNEL: True}
SOLVER: {LR_POLICY: steps_with_relative_lrs, LRS: [1, 0.1, 0.01], STEPS: [0, 14, 18]}
MODEL: {NUM_CLASSES: 174, ARCH: slowfast}
TEST: {DATASET: ssv2, NUM_ENSEMBLE_VIEWS: 1, NUM_SPATIAL_CROPS: 1}
"""


def write(tmp_path, text):
    path = tmp_path / "some.yaml"
    path.write_text(text)
    return path


def test_pyslowfasts_files_load_with_one_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        cfg = load_cfg(write(tmp_path, PYSLOWFAST))
    assert cfg.DATA.NUM_FRAMES == 32 and cfg.MODEL.MODEL_NAME == "SlowFast"
    assert cfg.SOLVER.WEIGHT_DECAY == 1e-4  # YAML itself reads 1e-4 as text
    assert cfg.DATA.DECODING_BACKEND == "pyav"
    assert cfg.SOLVER.BASE_LR_SCALE_NUM_SHARDS and cfg.BN.NORM_TYPE == "batchnorm"
    assert len(caplog.records) == 1
    for key in (
        "NUM_GPUS",
        "DATA.DECODING_BACKEND",
        "BN.USE_PRECISE_STATS",
        "BN.NORM_TYPE",
        "NONLOCAL.LOCATION",
        "RESNET.TRANS_FUNC",
    ):
        assert key in caplog.text


def test_overrides_are_typed():
    cfg = load_cfg(
        None,
        [
            "SOLVER.BASE_LR",
            "1",
            "TABLE.SIZES",
            "[64, 48]",
            "TRAIN.ENABLE",
            "False",
            "MUTUAL.WIDTH_RANGE",
            "(0.5, 1)",
            "OUTPUT_DIR",
            "2026",
        ],
    )
    assert cfg.SOLVER.BASE_LR == 1.0 and isinstance(cfg.SOLVER.BASE_LR, float)
    assert cfg.TABLE.SIZES == [64, 48] and cfg.TRAIN.ENABLE is False
    assert cfg.MUTUAL.WIDTH_RANGE == [0.5, 1.0] and cfg.OUTPUT_DIR == "2026"


def test_round_trip_through_a_checkpoints_dict():
    cfg = load_cfg(None, ["MODEL.NUM_CLASSES", "7", "TABLE.SUBNETS", "['1x4x64']"])
    assert cfg_from_dict(cfg_to_dict(cfg), "file") == cfg
    assert cfg_from_dict({}, "file") == get_cfg()


@pytest.mark.parametrize(
    "overrides, message",
    [
        (
            ["SOLVER.BASE_RL", "1"],
            "unknown key SOLVER.BASE_RL; the nearest known key is SOLVER.BASE_LR",
        ),
        (["MODEL", "1"], "unknown key MODEL"),
        (["MODEL.NUM_CLASSES.X", "1"], "unknown key MODEL.NUM_CLASSES.X"),
        (["MODEL.NUM_CLASSES", "6.5"], "MODEL.NUM_CLASSES is 6.5, expected a whole number"),
        (["TRAIN.ENABLE", "1"], "TRAIN.ENABLE is 1, expected True or False"),
        (["SOLVER.BASE_LR", "fast"], "SOLVER.BASE_LR is 'fast', expected a number"),
        (["TABLE.SIZES", "64"], "TABLE.SIZES is 64, expected a list"),
        (["TABLE.SIZES", "[64, 'a']"], "TABLE.SIZES contains 'a', expected a list of whole"),
        (["MUTUAL.SIZES", "[64.5]"], "MUTUAL.SIZES contains 64.5"),
        (["MODEL.NUM_CLASSES"], "MODEL.NUM_CLASSES: this override has no value"),
    ],
)
def test_bad_overrides(overrides, message):
    with pytest.raises(InputError, match=message):
        load_cfg(None, overrides)


@pytest.mark.parametrize(
    "text, message",
    [
        ("MODEL: [", "not a YAML file"),
        ("- a\n- b\n", "expected sections"),
        ("MODEL: {NUM_CLASES: 3}", "some.yaml: unknown key MODEL.NUM_CLASES"),
    ],
)
def test_bad_files(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load_cfg(write(tmp_path, text))
    with pytest.raises(InputError, match="no such config file"):
        load_cfg(tmp_path / "absent.yaml")


def test_pyslowfasts_something_something_files_load(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        cfg = load_cfg(write(tmp_path, PYSLOWFAST_SSV2))
    assert cfg.DATA.INV_UNIFORM_SAMPLE and not cfg.DATA.RANDOM_FLIP
    assert "DATA.REVERSE_INPUT_CHANNEL" in caplog.text
    assert cfg.SOLVER.LRS == [1, 0.1, 0.01] and cfg.SOLVER.STEPS == [0, 14, 18]
    assert cfg.SOLVER.LR_POLICY == "steps_with_relative_lrs"
    assert (cfg.MODEL.MODEL_NAME, cfg.MODEL.ARCH) == ("SlowFast", "slowfast")


FOLDERS = ["20241126_1530", "2026.10", "3.50", "1e3", "0x10", "2026", "007", "None", "on", "-1"]
TEXTS = ["OUTPUT_DIR", "DATA.PATH_TO_DATA_DIR", "DATA.PATH_PREFIX", "TRAIN.CHECKPOINT_FILE_PATH"]


@pytest.mark.parametrize("key", TEXTS)
@pytest.mark.parametrize("text", FOLDERS)
def test_a_text_is_what_was_typed(key, text):
    section, _, leaf = key.rpartition(".")
    cfg = load_cfg(None, [key, text])
    assert (cfg[section] if section else cfg)[leaf] == text


@pytest.mark.parametrize(
    "text", [*FOLDERS[:-1], "2024_11_26", "0123", "12:30", "2024-11-26", "yes", ".5", "1_0", "~x"]
)
def test_a_text_of_yaml_is_what_was_written(tmp_path, text):
    cfg = load_cfg(write(tmp_path, f"OUTPUT_DIR: {text}\nDATA: {{PATH_PREFIX: {text}}}\n"))
    assert cfg.OUTPUT_DIR == cfg.DATA.PATH_PREFIX == text


@pytest.mark.parametrize("text", ["'a b'", '"a b"', "a b"])
def test_quotes_around_a_text_are_taken_off(tmp_path, text):
    assert load_cfg(None, ["OUTPUT_DIR", text]).OUTPUT_DIR == "a b"
    assert load_cfg(write(tmp_path, f"OUTPUT_DIR: {text}\n")).OUTPUT_DIR == "a b"


@pytest.mark.parametrize(
    "text, message",
    [
        ("SOLVER: {MAX_EPOCH: 0123}", "SOLVER.MAX_EPOCH is '0123', which YAML reads as 83"),
        ("SOLVER: {BASE_LR: 1:30.5}", "SOLVER.BASE_LR is '1:30.5', which YAML reads as 90.5"),
        ("TABLE: {SIZES: [0100]}", "TABLE.SIZES is '0100', which YAML reads as 64"),
        ("TRAIN: {BATCH_SIZE: 12:30}", "TRAIN.BATCH_SIZE is '12:30', which YAML reads as 750"),
        ("SOLVER: {BASE_LR: 2024-11-26}", "SOLVER.BASE_LR is datetime.date"),
        ("NONLOCAL: {LOCATION: [[[a]]]}", "NONLOCAL.LOCATION contains 'a', expected lists"),
        ("NONLOCAL: {LOCATION: &a [*a]}", "NONLOCAL.LOCATION contains"),
        ("NONLOCAL: {LOCATION: [1]}", "NONLOCAL.LOCATION contains 1, expected lists"),
    ],
)
def test_numbers_of_another_base_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load_cfg(write(tmp_path, text))


def test_numbers_that_everybody_reads_alike(tmp_path):
    text = "SOLVER: {MAX_EPOCH: 1_000, BASE_LR: 1.5e-3, MOMENTUM: .9, WEIGHT_DECAY: 5e-5}\n"
    cfg = load_cfg(write(tmp_path, f"{text}TRAIN: {{BATCH_SIZE: 0x10, ENABLE: off}}\n"))
    assert (cfg.SOLVER.MAX_EPOCH, cfg.SOLVER.BASE_LR) == (1000, 0.0015)
    assert (cfg.SOLVER.MOMENTUM, cfg.SOLVER.WEIGHT_DECAY) == (0.9, 5e-5)
    assert cfg.TRAIN.BATCH_SIZE == 16 and cfg.TRAIN.ENABLE is False


@pytest.mark.parametrize("text", [r"\t", "\t"])
def test_a_typed_tab_is_a_tab(tmp_path, text):
    assert load_cfg(None, ["DATA.PATH_LABEL_SEPARATOR", text]).DATA.PATH_LABEL_SEPARATOR == "\t"
    path = write(tmp_path, f"DATA: {{PATH_LABEL_SEPARATOR: '{text}'}}\n")
    assert load_cfg(path).DATA.PATH_LABEL_SEPARATOR == "\t"


def test_a_key_that_was_taken_out_is_refused_unless_it_changes_nothing():
    harmless = "MUTUAL.TEMPERATURE 1 MUTUAL.TEACHER full MUTUAL.DIVERGENCE kl".split()
    assert load_cfg(None, harmless) == load_cfg()
    with pytest.raises(InputError, match="command line: MUTUAL.TEMPERATURE 3: .* taken out"):
        load_cfg(None, ["MUTUAL.TEMPERATURE", "3"])
    with pytest.raises(InputError, match="command line: MUTUAL.DIVERGENCE 'alpha': .* taken out"):
        load_cfg(None, ["MUTUAL.DIVERGENCE", "alpha"])


def test_a_network_that_was_trained_with_such_a_key_opens(caplog):
    values = cfg_to_dict(get_cfg())
    values["MUTUAL"] |= {"LOSS_WEIGHTS": "sum", "TEACHER": "ema"}
    assert cfg_from_dict(values, "old.pyth") == get_cfg()
    (record,) = caplog.records
    assert "old.pyth: was trained with MUTUAL.TEACHER" in record.getMessage()
