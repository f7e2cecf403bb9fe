from tests.runtime.conftest import (  # noqa: F401  (fixtures)
    one_thread,
    run_dir,
    tiny_cfg,
    write_video,
)
