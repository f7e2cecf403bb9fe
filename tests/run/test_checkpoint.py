"""Checkpoints on disk: whole or not at all, checked when read, the newest intact one resumed."""

import copy
import errno
import logging
import os
import re
from pathlib import Path

import pytest
import torch

from mutualvideo import QueryTable
from mutualvideo.config.load import cfg_to_dict
from mutualvideo.engine.train import train
from mutualvideo.engine.update import Updater
from mutualvideo.errors import InputError
from mutualvideo.evaluation.ema_table import evaluate_average
from mutualvideo.models import build_model, full_subnet, load_model, read_checkpoint
from mutualvideo.run import checkpoint as module
from mutualvideo.run.checkpoint import (
    checkpoint_path,
    checkpoints,
    newest_checkpoint,
    read_newest,
    require_same_classes,
    resume,
    save_average,
    save_checkpoint,
)
from mutualvideo.run.distributed import Context
from mutualvideo.run.progress import Progress

CPU = torch.device("cpu")


@pytest.fixture
def saved(tiny):
    """A configuration, an updater that took a step, and the path of its checkpoint."""
    cfg = tiny(TRAIN__EMA_DECAY=0.5)
    updater = stepped(cfg)
    progress = Progress(2, 1, 1.5, 3, 4, 1, {7: "broken.mp4: no video"})
    return cfg, updater, save_checkpoint(cfg, updater, progress)


def stepped(cfg):
    torch.manual_seed(0)
    updater = Updater(cfg, CPU, build_model(cfg).train())
    for _ in range(2):
        clips = torch.randn(2, 3, 4, 40, 40)
        updater(clips, torch.arange(2), [full_subnet(cfg)], 0.0, 0.05)
    return updater


def resumed(cfg):
    updater = Updater(cfg, CPU, build_model(cfg).train())
    return updater, resume(*read_newest(cfg.OUTPUT_DIR), cfg, updater)


def flat(updater):
    states = [updater.model.state_dict(), updater.ema.state_dict()]
    states += [one for one in updater.optimizer.state_dict()["state"].values()]
    return [tensor for state in states for tensor in state.values()]


@pytest.mark.parametrize(
    "now, words",
    [
        (["cat", "dog", "cow"], "other classes \\(jump where the data have cat\\)"),
        (["Wave", "jump", "ride_bike"], "jump where the data have wave"),
        (["sit", "jump", "wave"], "wave where the data have jump"),  # a class more, the first
        (["jump", "wave", "ride_bike"], None),
        (["Jump", "wave", "ride bike"], None),
        (["jump", "wave", "ride bicycle"], None),  # renamed
        (["jump", "wave"], None),
        (None, None),
    ],
)
def test_a_run_of_other_classes_is_not_taken_up(tiny, now, words):
    cfg = tiny(TRAIN__EMA_DECAY=0.5)
    updater = stepped(cfg)
    theirs = dict(enumerate(["jump", "wave", "ride_bike"]))
    path = save_checkpoint(cfg, updater, Progress(1), classes=theirs)
    ours = None if now is None else dict(enumerate(now))
    average = save_average(path, cfg.OUTPUT_DIR + "/ema") if updater.ema is not None else path
    for content in (read_checkpoint(path), read_checkpoint(average)):
        if words is None:
            require_same_classes(path, content, ours)
        else:
            with pytest.raises(InputError, match=words):
                require_same_classes(path, content, ours)
    if words is not None:
        with pytest.raises(InputError, match=words):
            resume(path, read_checkpoint(path), cfg, updater, ours)
    # Files that others wrote may hold anything under that name.
    for other in (4, torch.ones(2), {"cat": 0}):
        require_same_classes(path, {"model_state": {}, "classes": other}, ours)


def test_what_was_saved_comes_back(saved):
    cfg, updater, path = saved
    assert os.path.basename(path) == "checkpoint_epoch_00002_step_000001.pyth"
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
    torch.manual_seed(5)
    other, progress = resumed(cfg)
    assert progress == Progress(2, 1, 1.5, 3, 4, 1, {7: "broken.mp4: no video"})
    for mine, theirs in zip(flat(other), flat(updater), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    assert other.ema.n_averaged == 2


def test_the_scaler_comes_back(tiny):
    cfg = tiny(TRAIN__MIXED_PRECISION=True, TRAIN__PRECISION="float16")
    updater = Updater(cfg, CPU, build_model(cfg))
    updater.scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    save_checkpoint(cfg, updater, Progress(1))
    assert resumed(cfg)[0].scaler.get_scale() == 512


def test_any_flipped_bit_is_found(saved):
    """Of what the file holds: some bytes of an archive are there for nothing."""
    path = Path(saved[2])
    content = path.read_bytes()
    wanted = torch.load(path, weights_only=True)
    generator = torch.Generator().manual_seed(0)
    for place in torch.randint(0, len(content), (60,), generator=generator).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = read_checkpoint(path)
        except InputError as error:
            assert path.name in str(error)
        else:
            for name, tensor in wanted["model_state"].items():
                torch.testing.assert_close(found["model_state"][name], tensor, rtol=0, atol=0)


def test_a_flipped_bit_in_the_weights_is_no_news_to_torch_but_to_us(saved):
    path = Path(saved[2])
    content = bytearray(path.read_bytes())
    weights = saved[1].model.state_dict()["blocks.0.conv.conv_t.weight"].numpy().tobytes()
    place = content.index(weights)
    content[place] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)
    with pytest.raises(InputError, match="is damaged: the checksum of .*/data/"):
        read_checkpoint(path)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_the_newest_intact_one_is_resumed(saved, caplog, damage):
    cfg, updater, _ = saved
    last = Path(save_checkpoint(cfg, updater, Progress(3)))
    content = last.read_bytes()
    older = save_checkpoint(cfg, updater, Progress(2))
    half = len(content) // 2
    flipped = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
    last.write_bytes({"cut": content[:half], "flipped": flipped, "empty": b""}[damage])
    assert read_newest(cfg.OUTPUT_DIR)[0] == older
    assert f"passed over: {last}" in caplog.text
    Path(older).write_bytes(b"no archive")
    with pytest.raises(InputError, match=f"none of its 2 checkpoint.*the newest: {last}: "):
        read_newest(cfg.OUTPUT_DIR)


@pytest.mark.parametrize(
    "keep, left",
    [
        (0, [(4, 0), (3, 0), (2, 0), (1, 0)]),
        (1, [(4, 0)]),
        (2, [(4, 0), (3, 0)]),
    ],
)
def test_which_checkpoints_are_kept(saved, keep, left):
    cfg, updater, path = saved
    os.remove(path)
    cfg.TRAIN.KEEP_CHECKPOINTS = keep
    for epoch in range(1, 5):
        save_checkpoint(cfg, updater, Progress(epoch - 1, 1))
        before = [place for place, _ in checkpoints(cfg.OUTPUT_DIR)]
        assert before[0] == (epoch - 1, 1)
        # One of whole epochs is always there.
        assert len(before) == 1 + min(keep or 9, epoch - 1)
        save_checkpoint(cfg, updater, Progress(epoch - 1, 2))
        save_checkpoint(cfg, updater, Progress(epoch))
    assert [place for place, _ in checkpoints(cfg.OUTPUT_DIR)] == left
    assert newest_checkpoint(cfg.OUTPUT_DIR) == checkpoint_path(cfg.OUTPUT_DIR, 4)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
@pytest.mark.parametrize("when", ["writing", "syncing"])
def test_a_full_disk_leaves_the_last_good_file(saved, monkeypatch, number, when):
    cfg, updater, path = saved
    before = Path(path).read_bytes()

    def fail(*args):
        raise OSError(number, os.strerror(number))

    if when == "writing":

        def save(content, file):
            file.write(b"half of it")
            fail()

        monkeypatch.setattr(module.torch, "save", save)
    else:
        monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InputError, match="00003.pyth: cannot be written .*what was there before"):
        save_checkpoint(cfg, updater, Progress(3))
    assert Path(path).read_bytes() == before
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
    monkeypatch.undo()
    assert resumed(cfg)[1].epoch == 2


def test_it_is_on_the_disk_before_it_has_its_name(saved, monkeypatch):
    cfg, updater, _ = saved
    order = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("sync"), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda *two: (order.append("rename"), replace(*two)))
    save_checkpoint(cfg, updater, Progress(3))
    assert order == ["sync", "rename", "sync"]


@pytest.mark.parametrize(
    "key, value",
    [
        ("MODEL.NUM_CLASSES", 3),
        ("X3D.DIM_C5", 24),
        ("MUTUAL.DIVISOR", 4),
        ("BN.EPSILON", 0.1),
    ],
)
def test_another_architecture_is_refused(saved, key, value):
    cfg = saved[0].clone()
    section, leaf = key.split(".")
    cfg[section][leaf] = value
    with pytest.raises(InputError, match=f"belongs to another architecture: {re.escape(key)} is"):
        resumed(cfg)


def test_other_keys_that_changed_are_listed_and_hold(saved, caplog):
    cfg = saved[0].clone()
    cfg.SOLVER.WEIGHT_DECAY, cfg.SOLVER.MOMENTUM, cfg.SOLVER.MAX_EPOCH = 0.25, 0.5, 7
    updater, _ = resumed(cfg)
    line = next(r.getMessage() for r in caplog.records if "changed since" in r.getMessage())
    assert line.endswith(
        "SOLVER.MAX_EPOCH: 3 -> 7, SOLVER.MOMENTUM: 0.9 -> 0.5, SOLVER.WEIGHT_DECAY: 0.0001 -> 0.25"
    )
    assert {group["momentum"] for group in updater.optimizer.param_groups} == {0.5}
    assert 0.25 in {group["weight_decay"] for group in updater.optimizer.param_groups}


def test_nothing_is_listed_where_nothing_changed(saved, caplog):
    caplog.set_level(logging.INFO)
    resumed(saved[0])
    assert "changed" not in caplog.text


def test_a_checkpoint_of_before_steps_were_counted(saved):
    """Version 1, of mutualvideo 0.1."""
    cfg, updater, path = saved
    os.remove(path)
    first = checkpoint_path(cfg.OUTPUT_DIR, 2)
    torch.save(
        {
            "format": "mutualvideo-checkpoint",
            "version": 1,
            "epoch": 2,
            "model_state": updater.model.state_dict(),
            "optimizer_state": updater.optimizer.state_dict(),
            "cfg": cfg_to_dict(cfg),
        },
        first,
    )
    assert resumed(cfg)[1] == Progress(2)


def without(key):
    return lambda content: content.pop(key)


def put(key, value):
    return lambda content: content.update({key: value})


@pytest.mark.parametrize(
    "change, words",
    [
        (put("format", "other"), "not written by training here"),
        (put("version", 3), "has version 3, this release continues 1 to 2"),
        (put("version", [2]), "has version"),
        (put("progress", {"epoch": 1}), "its progress is"),
        (put("progress", 7), "its progress is 7"),
        (lambda c: c["progress"].update(step=-1), "its progress has step -1"),
        (lambda c: c["progress"].update(loss="x"), "its progress has loss 'x'"),
        (without("optimizer_state"), "its optimiser does not fit"),
        (put("optimizer_state", {"state": {}, "param_groups": []}), "its optimiser does not fit"),
        (
            lambda c: c["optimizer_state"]["state"][0].update(momentum_buffer=torch.ones(1)),
            "its optimiser does not fit.*momentum of shape",
        ),
        (put("ema_state", {"a": 1}), "its optimiser does not fit"),
        (put("cfg", {"MODEL": {"NUM_CLASSES": "many"}}), "MODEL.NUM_CLASSES is 'many'"),
    ],
)
def test_what_does_not_fit_is_refused(saved, change, words):
    cfg, _, path = saved
    content = copy.deepcopy(torch.load(path, weights_only=True))
    change(content)
    torch.save(content, path)
    with pytest.raises(InputError, match=words):
        resumed(cfg)


def test_the_moving_average_has_a_table_of_its_own(tiny):
    cfg = tiny(TRAIN__EMA_DECAY=0.9, SOLVER__MAX_EPOCH=2, TABLE__LATENCY=False)
    path = train(cfg, Context(CPU))
    evaluate_average(cfg, Context(CPU), path)
    folder = Path(cfg.OUTPUT_DIR, "ema")
    table = QueryTable.load_json(folder / "query_table.json")
    assert len(table) == 4
    model, _ = load_model(folder / table.metadata["checkpoint"])
    average = read_checkpoint(path)["ema_state"]
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, average[f"module.{name}"], rtol=0, atol=0)
    # Started from, as from any other.
    cfg.TRAIN.CHECKPOINT_FILE_PATH = str(folder / table.metadata["checkpoint"])
    cfg.OUTPUT_DIR, cfg.SOLVER.MAX_EPOCH = str(folder / "more"), 1
    assert train(cfg, Context(CPU))


def test_a_checkpoint_without_an_average(tiny):
    cfg = tiny(SOLVER__MAX_EPOCH=1)
    path = train(cfg, Context(CPU))
    with pytest.raises(InputError, match="00001.pyth: holds no moving average"):
        evaluate_average(cfg, Context(CPU), path)
