import pytest

from mutualvideo.runtime import AdaptiveRecognizer
from mutualvideo.web.upload import Limits, read_clip
from tests.data.videos import encode
from tests.runtime.conftest import one_thread, run_dir, tiny_cfg  # noqa: F401  (fixtures)


@pytest.fixture(scope="session")
def recognizer(run_dir):  # noqa: F811
    return AdaptiveRecognizer(run_dir / "c.pyth", run_dir / "query_table.json", device="cpu")


@pytest.fixture(scope="session")
def good_path(tmp_path_factory):
    """A second of video, 30 frames."""
    return encode(tmp_path_factory.mktemp("good") / "good.mp4", range(0, 90, 3))


@pytest.fixture(scope="session")
def clip(good_path, tiny_cfg):  # noqa: F811
    return read_clip(good_path, tiny_cfg.DATA, Limits())
