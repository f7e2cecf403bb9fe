"""A configuration for tiny data sets, and files written by hand."""

import pytest

from mutualvideo.config import get_cfg
from mutualvideo.data.loader import build_loader


@pytest.fixture
def cfg(tmp_path):
    cfg = get_cfg()
    cfg.DATA.PATH_TO_DATA_DIR = str(tmp_path)
    cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE = 4, 2
    cfg.DATA.TRAIN_JITTER_SCALES = [32, 40]
    cfg.DATA.TRAIN_CROP_SIZE = cfg.DATA.TEST_CROP_SIZE = 32
    cfg.TRAIN.BATCH_SIZE = cfg.TEST.BATCH_SIZE = 1
    cfg.TEST.NUM_ENSEMBLE_VIEWS = cfg.TEST.NUM_SPATIAL_CROPS = 1
    cfg.DATA_LOADER.NUM_WORKERS = 0
    return cfg


@pytest.fixture
def write(tmp_path):
    """Writes ``{relative path: text or bytes}``; ``None`` removes the file."""

    def write(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            elif isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.write_text(content, encoding="utf-8")

    return write


@pytest.fixture
def clips(cfg):
    """{row of the list: label} of a split, after every clip of it was decoded."""

    def clips(name, split):
        cfg.TRAIN.DATASET = cfg.TEST.DATASET = name
        found = {}
        for batch in build_loader(cfg, split):
            assert batch["clip"].shape == (1, 3, 4, 32, 32)
            found[int(batch["video"])] = int(batch["label"])
        return found

    return clips
