import pytest

from mutualvideo.errors import InputError
from mutualvideo.media import BACKENDS, reader_class
from tests.data.videos import encode

from .files import FILES


@pytest.fixture(params=BACKENDS)
def backend(request):
    """Each backend in turn; those that are not installed are skipped."""
    skip_unless_loadable(request.param)
    return request.param


def skip_unless_loadable(backend):
    try:
        reader_class(backend)
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=FILES)
def video(request, tmp_path_factory):
    return encode(tmp_path_factory.mktemp("video") / request.param, **FILES[request.param])
