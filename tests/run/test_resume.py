import torch

from mutualvideo.config import get_cfg
from mutualvideo.run.resume import Work, work_key


def test_what_was_saved_is_there_again(tmp_path):
    now = [0.0]
    work = Work(tmp_path, "a", every_s=60, clock=lambda: now[0])
    assert work.get("tally") is None and not work.due()
    now[0] = 60.0
    assert work.due()
    work.save(tally={"x": torch.arange(3)}, batches=2)
    assert not work.due()
    work.save(times={"1x8x112": 3.0})
    again = Work(tmp_path, "a")
    assert again.get("batches") == 2 and torch.equal(again.get("tally")["x"], torch.arange(3))
    assert again.get("times") == {"1x8x112": 3.0}
    # Of another table, of another process, damaged: not read.
    assert Work(tmp_path, "b").get("batches") is None
    assert Work(tmp_path, "a", rank=1).get("batches") is None
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert Work(tmp_path, "a").get("batches") is None
    again.remove()
    again.remove()
    assert not list(tmp_path.iterdir())


def test_the_key_follows_what_decides_a_result():
    cfg, facts = get_cfg(), ("checkpoint", "list")
    before = work_key(cfg, *facts)
    cfg.OUTPUT_DIR, cfg.DATA_LOADER.NUM_WORKERS = "elsewhere", 7
    assert work_key(cfg, *facts) == before
    assert work_key(cfg, "checkpoint", "other list") != before
    cfg.TEST.NUM_ENSEMBLE_VIEWS = 3
    assert work_key(cfg, *facts) != before
