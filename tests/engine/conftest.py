import socket

import pytest
import torch

from tests.data.videos import encode
from tests.networks import make_cfg

# Of a network that trains in seconds.
KEYS = {
    "DATA__NUM_FRAMES": 4,
    "DATA__SAMPLING_RATE": 2,
    "DATA__TRAIN_JITTER_SCALES": [40, 44],
    "DATA__TRAIN_CROP_SIZE": 40,
    "DATA__TEST_CROP_SIZE": 40,
    "DATA_LOADER__NUM_WORKERS": 0,
    "MODEL__NUM_CLASSES": 2,
    "X3D__DIM_C1": 8,
    "X3D__DIM_C5": 16,
    "X3D__WIDTH_FACTOR": 1.0,
    "X3D__DEPTH_FACTOR": 0.4,
    "TRAIN__BATCH_SIZE": 4,
    "SOLVER__MAX_EPOCH": 3,
    "SOLVER__BASE_LR": 0.05,
    "TRAIN__EVAL_PERIOD": 0,
    "LOG_PERIOD": 1,
    "MUTUAL__WIDTH_RANGE": [0.5, 1.0],
    # Of any width, every step's sub-networks would be new ones whose costs are counted.
    "MUTUAL__WIDTHS": [0.5, 0.7, 0.85, 1.0],
    "MUTUAL__SIZES": [40, 32],
    "MUTUAL__FRAMES": [4, 2],
    "TEST__NUM_ENSEMBLE_VIEWS": 2,
    "TEST__NUM_SPATIAL_CROPS": 1,
    "TABLE__WIDTHS": [0.5, 1.0],
    "TABLE__FRAMES": [4, 2],
    "TABLE__SIZES": [32],
    "TABLE__CALIBRATION_BATCHES": 2,
}


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory):
    """Eight short videos of two classes, with train.csv and val.csv."""
    folder = tmp_path_factory.mktemp("videos")
    times = range(0, 60, 3)
    names = [f"{number}.mp4" for number in range(8)]
    for number, name in enumerate(names):
        encode(folder / name, times, size=(64, 48 + 16 * (number % 2)))
    lines = [f"{name} {number % 2}" for number, name in enumerate(names)]
    (folder / "train.csv").write_text("\n".join(lines))
    (folder / "val.csv").write_text("\n".join(lines[:4]))
    return folder


@pytest.fixture
def tiny(video_folder, tmp_path):
    """Overrides of a configuration that trains in seconds."""

    def build(**changes):
        paths = {"DATA__PATH_TO_DATA_DIR": video_folder, "OUTPUT_DIR": tmp_path / "run"}
        return make_cfg("X3D", **{**KEYS, **paths, **changes})

    return build


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def unused_ports():
    """Makes lists of ports that nothing listens on."""

    def find(count):
        servers = [socket.socket() for _ in range(count)]
        for server in servers:
            server.bind(("127.0.0.1", 0))
        ports = [server.getsockname()[1] for server in servers]
        for server in servers:
            server.close()
        return ports

    return find
