"""The whole path on real encoded video, in seconds: train, resume, calibrate, table, answer."""

import json

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mutualvideo import AdaptiveRecognizer, QueryTable, Subnet
from mutualvideo.data.augment import plain_input
from mutualvideo.data.loader import build_loader
from mutualvideo.engine.parallel import run_parallel
from mutualvideo.engine.train import train
from mutualvideo.errors import InputError
from mutualvideo.evaluation.build import evaluate_grid
from mutualvideo.evaluation.evaluate import evaluate
from mutualvideo.models import build_model, load_model, read_checkpoint
from mutualvideo.run.checkpoint import checkpoint_path, newest_checkpoint
from mutualvideo.run.distributed import Context
from mutualvideo.run.log import setup_logging
from mutualvideo.slim import batch_norms, extract, load_statistics, slimmable, subnet_input
from tests.engine.logged import stats_of

CPU = Context(torch.device("cpu"))


def run(cfg):
    setup_logging(cfg.OUTPUT_DIR, True)
    return train(cfg, CPU)


def log_lines(cfg):
    return stats_of(cfg)


@pytest.mark.parametrize("mode, passes", [("mutual", 4), ("width_only", 4), ("single", 1)])
def test_modes_and_what_is_logged(tiny, mode, passes):
    cfg = tiny(MUTUAL__MODE=mode, SOLVER__MAX_EPOCH=2, TRAIN__EVAL_PERIOD=1)
    path = run(cfg)
    assert path == checkpoint_path(cfg.OUTPUT_DIR, 2) == newest_checkpoint(cfg.OUTPUT_DIR)
    lines = log_lines(cfg)
    steps = [line for line in lines if line["_type"] == "train_iter"]
    assert len(steps) == 2 * 2 * passes  # epochs x steps x sub-networks
    assert {line["role"] for line in steps} == {"full", "narrowest", "random1", "random2"} & {
        line["role"] for line in steps
    } and len({line["role"] for line in steps}) == passes
    for line in steps:
        subnet = Subnet.parse(line["subnet"])
        assert line["loss"] >= 0 and line["dt"] > line["dt_data"] >= 0
        if line["role"] == "full":
            assert subnet == Subnet(1, 4, 40)
    validated = {line["subnet"] for line in lines if line["_type"] == "val_epoch"}
    narrowest = {"mutual": {"0.5x2x32"}, "width_only": {"0.5x4x40"}}
    assert validated == {"1x4x40"} | narrowest.get(mode, set())
    events = EventAccumulator(f"{cfg.OUTPUT_DIR}/tensorboard")
    events.Reload()
    assert {"train/loss", "step/loss_full", "step/lr"} <= set(events.Tags()["scalars"])


def test_resume_continues_to_the_losses_of_an_uninterrupted_run(tiny, tmp_path):
    whole = tiny(OUTPUT_DIR=tmp_path / "whole")
    run(whole)
    cut = tiny(OUTPUT_DIR=tmp_path / "cut")
    run(cut)
    # As if it had been killed after the first epoch.
    for epoch in (2, 3):
        (tmp_path / "cut" / "checkpoints" / f"checkpoint_epoch_{epoch:05d}.pyth").unlink()
    (tmp_path / "cut" / "stats.jsonl").unlink()
    torch.manual_seed(123)
    run(cut)
    wanted = [line for line in log_lines(whole) if line["_type"] == "train_iter"]
    found = [line for line in log_lines(cut) if line["_type"] == "train_iter"]
    assert found[0]["epoch"] == 2
    wanted = [line for line in wanted if line["epoch"] > 1]
    assert [line["subnet"] for line in found] == [line["subnet"] for line in wanted]
    for a, b in zip(found, wanted, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-6)
    states = [read_checkpoint(newest_checkpoint(c.OUTPUT_DIR))["model_state"] for c in (whole, cut)]
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=0, atol=1e-6)


def test_checkpoint_carries_what_rebuilds_the_network(tiny):
    cfg = tiny(SOLVER__MAX_EPOCH=1)
    path = run(cfg)
    model, theirs = load_model(path)
    assert theirs.MUTUAL.WIDTH_RANGE == [0.5, 1.0] and theirs.MUTUAL.DIVISOR == 8
    assert model.slim_state.width_range == (0.5, 1.0)
    with pytest.raises(InputError, match=r"width 0.4 is outside \[0.5, 1\]"):
        model.slim_state.select(0.4)


def test_training_starts_from_weights_and_replaces_the_classifier(tiny, tmp_path, caplog):
    path = run(tiny(SOLVER__MAX_EPOCH=1))
    more = tiny(
        SOLVER__MAX_EPOCH=1,
        OUTPUT_DIR=tmp_path / "more",
        MODEL__NUM_CLASSES=3,
        TRAIN__CHECKPOINT_FILE_PATH=path,
    )
    with caplog.at_level("WARNING"):
        train(more, CPU)
    assert "blocks.5.proj.weight not loaded" in caplog.text


def test_trained_channels_are_ordered_before_training_goes_on(tiny, tmp_path):
    torch.manual_seed(0)
    model = build_model(tiny())
    for _, norm in batch_norms(model):
        norm.weight.data.uniform_(0.5, 1.5)
    path = str(tmp_path / "trained.pyth")
    torch.save({"model_state": model.state_dict()}, path)
    ordered = tiny(
        SOLVER__MAX_EPOCH=1,
        SOLVER__BASE_LR=0.0,
        SOLVER__WARMUP_EPOCHS=0.0,
        MUTUAL__ORDER_CHANNELS=True,
        TRAIN__CHECKPOINT_FILE_PATH=path,
    )
    state = torch.load(train(ordered, CPU), weights_only=True)["model_state"]
    inner = state["blocks.1.res_blocks.0.branch2.norm_a.weight"]
    before = model.state_dict()["blocks.1.res_blocks.0.branch2.norm_a.weight"]
    assert torch.equal(inner.sort().values, before.sort().values)
    assert not torch.equal(inner, before)
    again = build_model(tiny())
    again.load_state_dict({k: v for k, v in state.items() if "running" not in k}, strict=False)
    clip = torch.randn(2, 3, 4, 32, 32)
    for network in (model, again):
        # Batch statistics, as the training pass changed the running ones; no dropout.
        network.double().eval()
        for _, norm in batch_norms(network):
            norm.train()
    torch.testing.assert_close(again(clip.double()), model(clip.double()))
    with pytest.raises(InputError, match="ORDER_CHANNELS .*TRAIN.CHECKPOINT_FILE_PATH"):
        train(tiny(MUTUAL__ORDER_CHANNELS=True, OUTPUT_DIR=tmp_path / "no weights"), CPU)


def test_the_table_takes_zoo_files_that_fit_exactly(tiny, tmp_path):
    path = str(tmp_path / "zoo.pyth")
    torch.save({"model_state": build_model(tiny(MODEL__NUM_CLASSES=3)).state_dict()}, path)
    with pytest.raises(InputError, match="zoo.pyth: .*blocks.5.proj.weight.*only training can"):
        evaluate_grid(tiny(), CPU, path)


def test_table_of_a_trained_network(tiny):
    cfg = tiny(SOLVER__MAX_EPOCH=1)
    checkpoint = run(cfg)
    table = evaluate_grid(cfg, CPU, checkpoint)
    folder = cfg.OUTPUT_DIR
    read = QueryTable.load_json(f"{folder}/query_table.json")
    assert [row.subnet for row in read] == [row.subnet for row in table] and len(read) == 4
    with open(f"{folder}/flops_accuracy.png", "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    with open(f"{folder}/query_table.csv") as file:
        assert len(file.readlines()) == 5
    assert json.load(open(f"{folder}/query_table.json"))["metadata"]["videos"] == 4

    # Accuracy again, by hand: the extracted network on each view of each video.
    model, _ = load_model(checkpoint)
    load_statistics(model, f"{folder}/query_table.bn.pyth")
    for row in table:
        static = extract(model, row.subnet)
        scores, labels = torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)
        for batch in build_loader(cfg, "test"):
            clips = plain_input(batch, cfg, CPU.device)
            with torch.no_grad():
                answer = static(subnet_input(model, clips, row.subnet)).softmax(1)
            for video, label, score in zip(batch["video"], batch["label"], answer, strict=True):
                scores[video] += score
                labels[video] = label
        assert row.top1 == pytest.approx(100 * (scores.argmax(1) == labels).float().mean().item())

    recognizer = AdaptiveRecognizer(checkpoint, f"{folder}/query_table.json")
    cheapest = min(read, key=lambda row: row.macs)
    assert recognizer.set_budget(macs=cheapest.macs).subnet == cheapest.subnet
    clip = torch.randint(0, 256, (9, 50, 60, 3), dtype=torch.uint8)
    assert recognizer.predict(clip).scores.sum() == pytest.approx(1, abs=1e-5)
    with pytest.raises(InputError, match=str(cheapest.subnet)):
        recognizer.set_budget(macs=cheapest.macs - 1)


def test_single_view_accuracy_over_two_shares_counts_every_video_once(tiny):
    cfg = tiny(TEST__NUM_ENSEMBLE_VIEWS=1)
    seen = []
    for rank in range(3):
        for batch in build_loader(cfg, "test", rank, 3):
            seen += batch["video"].tolist()
    assert sorted(seen) == [0, 1, 2, 3]


def test_evaluation_refuses_what_was_never_calibrated(tiny):
    cfg = tiny(SOLVER__MAX_EPOCH=1)
    model, _ = load_model(run(cfg))
    with pytest.raises(InputError, match="evaluation: sub-network 0.5x2x32 was never calibrated"):
        evaluate(model, [Subnet.parse("0.5x2x32")], build_loader(cfg, "test"), cfg, CPU)


def test_a_damaged_checkpoint_is_named(tiny):
    cfg = tiny(SOLVER__MAX_EPOCH=1)
    path = run(cfg)
    with open(path, "r+b") as file:
        file.truncate(1000)
    with pytest.raises(InputError, match="checkpoint_epoch_00001.pyth: cannot be read"):
        run(cfg)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"X3D__DEPTH_FACTOR": 1.0}, "X3D.DEPTH_FACTOR is 0.4 there, 1.0 here"),
        ({"MUTUAL__DIVISOR": 4}, "MUTUAL.DIVISOR is 8 there, 4 here"),
        ({"TABLE__SUBNETS": ["0.4x4x40"]}, "width 0.4 of 0.4x4x40 is outside"),
        ({"TABLE__SUBNETS": ["1x5x40"]}, "takes 1 to 4 frames"),
        ({"TABLE__SUBNETS": ["1x4x20"]}, "takes sizes from 32"),
    ],
)
def test_what_the_table_cannot_be_made_of(tiny, change, message):
    path = run(tiny(SOLVER__MAX_EPOCH=1))
    with pytest.raises(InputError, match=message):
        evaluate_grid(tiny(**change), CPU, path)


def test_replaced_videos_are_named_and_counted_every_epoch(tiny, tmp_path, video_folder, caplog):
    lines = [f"{video_folder}/{number}.mp4 {number % 2}\n" for number in range(7)]
    (tmp_path / "empty.mp4").touch()
    for split in ("train", "val"):
        (tmp_path / f"{split}.csv").write_text("".join(lines) + f"{tmp_path}/empty.mp4 0\n")
    cfg = tiny(DATA__PATH_TO_DATA_DIR=tmp_path, DATA__MAX_BAD_FRACTION=0.2, SOLVER__MAX_EPOCH=2)
    with caplog.at_level("WARNING"):
        run(cfg)
    epochs = [line for line in log_lines(cfg) if line["_type"] == "train_epoch"]
    assert [line["videos_replaced"] for line in epochs] == [1, 1]
    for epoch in (1, 2):
        assert f"replaced in epoch {epoch}: {tmp_path}/empty.mp4: " in caplog.text
    stopped = tiny(DATA__PATH_TO_DATA_DIR=tmp_path, OUTPUT_DIR=tmp_path / "stopped")
    with pytest.raises(InputError, match="1 of 8 videos do not decode, DATA.MAX_BAD_FRACTION"):
        run(stopped)


@pytest.mark.parametrize(
    "changes",
    [
        {"AUG__ENABLE": True},
        {"AUG__ENABLE": True, "AUG__AA_TYPE": "", "MIXUP__ENABLE": True},
        {
            "DATA__TRAIN_JITTER_SCALES_RELATIVE": [0.3, 1.0],
            "DATA__TRAIN_JITTER_ASPECT_RELATIVE": [0.75, 1.33],
        },
    ],
)
def test_augmented_training_does_not_depend_on_the_workers(tiny, tmp_path, changes):
    losses = []
    for workers in (0, 2):
        cfg = tiny(
            OUTPUT_DIR=tmp_path / str(workers),
            DATA_LOADER__NUM_WORKERS=workers,
            SOLVER__MAX_EPOCH=1,
            **changes,
        )
        run(cfg)
        steps = [line for line in log_lines(cfg) if line["_type"] == "train_iter"]
        losses.append([line["loss"] for line in steps])
    assert len(losses[0]) == 8 and losses[0] == losses[1]


def test_a_norm_that_cannot_be_shared_is_refused_with_the_key(tiny):
    class Activated(torch.nn.BatchNorm3d):
        def forward(self, x):
            return super().forward(x).relu()

    layers = torch.nn.Conv3d(3, 16, 1), Activated(16), torch.nn.AdaptiveAvgPool3d(1)
    network = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(16, 2))
    model = slimmable(network, (0.5, 1), full=Subnet(1, 2, 8))
    cfg = tiny(BN__NORM_TYPE="sync_batchnorm")
    with pytest.raises(InputError, match="Activated: .*BN.NORM_TYPE batchnorm"):
        run_parallel(model, cfg, CPU)


def test_the_number_of_classes_of_the_data_is_what_is_kept(tiny, tmp_path):
    cfg = tiny(MODEL__NUM_CLASSES=0, SOLVER__MAX_EPOCH=1, TABLE__LATENCY=False)
    path = run(cfg)
    assert load_model(path)[1].MODEL.NUM_CLASSES == 2
    cfg.SOLVER.MAX_EPOCH = 2
    assert run(cfg) == newest_checkpoint(cfg.OUTPUT_DIR) != path  # resumed
    # Evaluation takes it from the checkpoint, whatever the list at hand.
    cfg.TABLE.SUBNETS, cfg.TABLE.WIDTHS, cfg.TABLE.FRAMES, cfg.TABLE.SIZES = ["1x4x40"], [], [], []
    evaluate_grid(cfg, CPU)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["num_classes"] == 2
    # From weights for others.
    more = tiny(
        MODEL__NUM_CLASSES=0,
        SOLVER__MAX_EPOCH=1,
        OUTPUT_DIR=tmp_path / "more",
        TRAIN__CHECKPOINT_FILE_PATH=_of_five_classes(tiny, tmp_path),
    )
    assert load_model(run(more))[1].MODEL.NUM_CLASSES == 2


def _of_five_classes(tiny, folder):
    path = str(folder / "five.pyth")
    torch.save({"model_state": build_model(tiny(MODEL__NUM_CLASSES=5)).state_dict()}, path)
    return path
