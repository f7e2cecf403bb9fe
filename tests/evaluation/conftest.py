from tests.engine.conftest import one_thread, tiny, unused_ports, video_folder  # noqa: F401
from tests.table.conftest import random_table  # noqa: F401
