from tests.engine.conftest import one_thread, tiny, video_folder  # noqa: F401
