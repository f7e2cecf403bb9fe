"""Classes of different sizes, and parts of the network that keep their weights."""

from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from mutualvideo.data.annotations import Video
from mutualvideo.data.class_count import class_weights
from mutualvideo.data.loader import build_loader
from mutualvideo.engine.train import build_trained, train
from mutualvideo.errors import InputError
from mutualvideo.evaluation.build import evaluate_grid
from mutualvideo.models import load_model, network_of
from mutualvideo.run.distributed import Context
from mutualvideo.slim import batch_norms, set_subnet
from mutualvideo.subnet import Subnet
from tests.networks import NETWORKS, make_cfg

CPU = Context(torch.device("cpu"))


@pytest.fixture
def uneven(tiny, video_folder, tmp_path):
    """Six videos of class 0 and two of class 1."""
    folder = tmp_path / "lists"
    folder.mkdir()
    for name in ("train.csv", "val.csv"):
        lines = [f"{number}.mp4 {int(number > 5)}\n" for number in range(8)]
        (folder / name).write_text("".join(lines))

    def build(**changes):
        paths = {"DATA__PATH_TO_DATA_DIR": folder, "DATA__PATH_PREFIX": video_folder}
        return tiny(**{**paths, **changes})

    return build


def rows(loader, epoch):
    loader.set_epoch(epoch)
    return [(batch["video"].tolist(), batch["label"].tolist()) for batch in loader]


def test_a_balanced_epoch_has_every_class_equally_often(uneven):
    cfg = uneven(DATA__SAMPLER="balanced")
    loader = build_loader(cfg, "train")
    seen = Counter()
    for epoch in range(2):
        found = rows(loader, epoch)
        assert Counter(label for _, labels in found for label in labels) == {0: 4, 1: 4}
        videos = Counter(video for videos, _ in found for video in videos)
        assert videos[6] == videos[7] == 2 and max(videos.values()) == 2
        seen += videos
    assert rows(loader, 1) == rows(build_loader(cfg, "train"), 1) != rows(loader, 0)
    parts = [build_loader(cfg, "train", rank, 2) for rank in range(2)]
    both = zip(*(rows(part, 1) for part in parts), strict=True)
    whole = [sorted(videos) for videos, _ in rows(loader, 1)]
    assert [sorted(a + b) for (a, _), (b, _) in both] == whole


def test_balanced_weights_are_those_of_scikit_learn():
    cfg = make_cfg("X3D", MODEL__NUM_CLASSES=4, MODEL__CLASS_WEIGHTS="balanced")
    labels = [0] * 7 + [1] * 2 + [3]
    videos = [Video("", label, 1) for label in labels]
    wanted = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels)
    assert class_weights(cfg, videos)[[0, 1, 3]].numpy() == pytest.approx(wanted)
    assert class_weights(cfg, videos)[2] == 1
    cfg.DATA.MULTI_LABEL = True
    videos = [
        Video("", 0, 1, several=(0, 1)),
        Video("", 0, 1),
        Video("", -1, 1, several=()),
    ]
    assert class_weights(cfg, videos).tolist() == [0.5, 2.0, 1.0, 1.0]
    cfg.MODEL.CLASS_WEIGHTS = "1, 2.5 1 0.5"
    assert class_weights(cfg, videos).tolist() == [1, 2.5, 1, 0.5]
    for text in ("1,2", "1,2,3,0", "even"):
        cfg.MODEL.CLASS_WEIGHTS = text
        with pytest.raises(InputError, match="expected balanced, or 4 positive numbers"):
            class_weights(cfg, videos)


def test_frozen_parts_keep_weights_and_statistics(uneven):
    cfg = uneven(
        TRAIN__FREEZE=2, SOLVER__MAX_EPOCH=1, MODEL__CLASS_WEIGHTS="balanced", SOLVER__BASE_LR=0.1
    )
    torch.manual_seed(cfg.RNG_SEED)
    before = {
        name: tensor.clone() for name, tensor in build_trained(cfg, CPU.device).state_dict().items()
    }
    after = load_model(train(cfg, CPU))[0].state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert kept == {name for name in before if name.startswith(("blocks.0.", "blocks.1."))}


def test_the_frozen_stem_answers_in_training_as_in_evaluation(uneven):
    model = build_trained(uneven(TRAIN__FREEZE=1), CPU.device)
    stem = model.blocks[0]
    for norm in (m for m in stem.modules() if isinstance(m, torch.nn.BatchNorm3d)):
        norm.running_mean.normal_()
    clip = torch.randn(2, 3, 4, 32, 32)
    set_subnet(model, Subnet(1, 4, 40))
    torch.testing.assert_close(stem.train()(clip), stem.eval()(clip))
    # A sub-network normalises by its own clips.
    set_subnet(model, Subnet(0.5, 4, 32))
    assert not torch.allclose(stem.train()(clip), stem.eval()(clip))


def test_the_table_is_of_the_network_that_was_trained(uneven):
    """Calibration leaves frozen statistics of the full network alone, and evaluation knows them."""
    keys = {"TRAIN__FREEZE": 1, "SOLVER__MAX_EPOCH": 1, "MUTUAL__MODE": "single"}
    cfg = uneven(**keys, TABLE__WIDTHS=[1.0, 0.5], TABLE__SIZES=[40], TABLE__FRAMES=[4])
    path = train(cfg, CPU)
    content = torch.load(path, weights_only=True)
    for name, value in content["model_state"].items():
        if name.startswith("blocks.0.") and name.endswith("running_mean"):
            value += 0.5  # as of other videos, which weights from elsewhere were trained on
    torch.save(content, path)
    # The configuration of an evaluation need not say what was frozen.
    cfg.TRAIN.FREEZE, cfg.TEST.CHECKPOINT_FILE_PATH = 0, path
    evaluate_grid(cfg, CPU)
    found = load_model(path, f"{cfg.OUTPUT_DIR}/query_table.bn.pyth")[0]
    by_name = dict(batch_norms(found.blocks[0]))
    assert by_name
    for norm in by_name.values():
        mean, var = norm.statistics[Subnet(1, 4, 40)]
        assert torch.equal(mean, norm.running_mean) and torch.equal(var, norm.running_var)
        own = norm.statistics[Subnet(0.5, 4, 40)][0]
        assert not torch.allclose(own, norm.running_mean[: len(own)], atol=0.05)
    later = dict(batch_norms(found.blocks[1]))
    assert any(
        not torch.allclose(norm.statistics[Subnet(1, 4, 40)][0], norm.running_mean, atol=1e-3)
        for norm in later.values()
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_says_what_its_stages_are(name):
    cfg = make_cfg(name)
    about = network_of(cfg)
    with torch.device("meta"):
        network = about.build(cfg)
    stages = about.stages(network)
    assert len(stages) >= 4
    inside = {id(p) for stage in stages for part in stage for p in part.parameters()}
    left = [n for n, p in network.named_parameters() if id(p) not in inside]
    assert left and len(inside) + len(left) == len(list(network.parameters()))
    # What is left begins with the head, or what is right before it.
    names = [name for name, _ in network.named_parameters()]
    assert names[-len(left) :] == left


def test_more_parts_than_there_are(uneven):
    with pytest.raises(InputError, match="TRAIN.FREEZE 6: so many parts, .*; X3D has 5"):
        build_trained(uneven(TRAIN__FREEZE=6), CPU.device)
