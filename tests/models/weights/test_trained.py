"""Checkpoints of PyTorchVideo and PySlowFast, and those that do not fit."""

import pytest
import torch

from mutualvideo.errors import InputError
from mutualvideo.models import Loaded, build_model, load_model, load_pretrained, load_weights
from tests.networks import make_cfg, randomize_norms, upstream, upstream_input

DEPTHS = {"X3D": (1, 2, 5, 3), "ResNet": (3, 4, 6, 3), "SlowFast": (3, 4, 6, 3)}


def documented_names(name):
    """(PySlowFast's module, PyTorchVideo's module) of every layer, from both libraries' docs."""
    pathways = range(2) if name == "SlowFast" else range(1)
    pairs = []
    for p in pathways:
        inside = f".multipathway_blocks.{p}" if len(pathways) == 2 else ""
        stem, theirs = f"blocks.0{inside}", f"s1.pathway{p}_stem"
        if name == "X3D":
            pairs += [(f"{theirs}.conv_xy", f"{stem}.conv.conv_t")]
            pairs += [(f"{theirs}.conv", f"{stem}.conv.conv_xy")]
        else:
            pairs += [(f"{theirs}.conv", f"{stem}.conv")]
        pairs += [(f"{theirs}.bn", f"{stem}.norm")]
        for stage, depth in enumerate(DEPTHS[name]):
            for i in range(depth):
                theirs = f"s{stage + 2}.pathway{p}_res{i}"
                ours = f"blocks.{stage + 1}{inside}.res_blocks.{i}"
                pairs += [(f"{theirs}.branch1", f"{ours}.branch1_conv")]
                pairs += [(f"{theirs}.branch1_bn", f"{ours}.branch1_norm")]
                for part in "abc":
                    norm = "norm_b.0" if name == "X3D" and part == "b" else f"norm_{part}"
                    pairs += [(f"{theirs}.branch2.{part}", f"{ours}.branch2.conv_{part}")]
                    pairs += [(f"{theirs}.branch2.{part}_bn", f"{ours}.branch2.{norm}")]
                pairs += [(f"{theirs}.branch2.se.fc1", f"{ours}.branch2.norm_b.1.block.0")]
                pairs += [(f"{theirs}.branch2.se.fc2", f"{ours}.branch2.norm_b.1.block.2")]
    for stage in range(4):
        fusion = f"blocks.{stage}.multipathway_fusion"
        pairs += [(f"s{stage + 1}_fuse.conv_f2s", f"{fusion}.conv_fast_to_slow")]
        pairs += [(f"s{stage + 1}_fuse.bn", f"{fusion}.norm")]
    head = "blocks.6" if name == "SlowFast" else "blocks.5"
    pairs += [("head.conv_5", f"{head}.pool.pre_conv"), ("head.conv_5_bn", f"{head}.pool.pre_norm")]
    pairs += [("head.lin_5", f"{head}.pool.post_conv"), ("head.projection", f"{head}.proj")]
    return {ours: theirs for theirs, ours in pairs}


@pytest.mark.parametrize("zoo", ["PyTorchVideo", "PySlowFast"])
@pytest.mark.parametrize("name", ["X3D", "ResNet", "SlowFast"])
def test_released_files_load_and_answer_as_upstream(name, zoo, tmp_path):
    torch.manual_seed(0)
    theirs = upstream(name).eval()
    randomize_norms(theirs)
    state = theirs.state_dict()
    file = {"model_state": state}
    if zoo == "PySlowFast":
        names = documented_names(name)
        split = [key.rpartition(".") for key in state]
        file = {
            "model_state": {f"{names[m]}.{leaf}": state[f"{m}.{leaf}"] for m, _, leaf in split},
            "cfg": "a text",
        }
        assert len(file["model_state"]) == len(state)
    torch.save(file, tmp_path / "zoo.pyth")
    cfg = make_cfg(name)
    model = build_model(cfg).eval()
    loaded = load_pretrained(model, tmp_path / "zoo.pyth")
    assert loaded == Loaded(zoo if zoo == "PySlowFast" else "as is")
    clip = torch.randn(1, 3, cfg.DATA.NUM_FRAMES, 64, 64)
    with torch.no_grad():
        assert (model(clip) - theirs(upstream_input(name, clip))).abs().max() < 1e-5


def test_strict_but_for_the_classifier_in_training(tmp_path, caplog):
    state = build_model(make_cfg("X3D")).state_dict()
    other = build_model(make_cfg("X3D", MODEL__NUM_CLASSES=7))
    with pytest.raises(InputError, match=r"zoo: belongs to another architecture: blocks.5.proj"):
        load_weights(other, state, "zoo")
    fresh = other.blocks[5].proj.weight.clone()
    load_weights(other, state, "zoo", replace_classifier=True)
    assert torch.equal(other.blocks[5].proj.weight, fresh)
    assert torch.equal(other.blocks[0].conv.conv_t.weight, state["blocks.0.conv.conv_t.weight"])
    assert "blocks.5.proj.weight not loaded" in caplog.text


@pytest.mark.parametrize(
    "content, message",
    [
        (b"junk", "cannot be read as a checkpoint"),
        ({"epoch": 1}, "holds no model_state"),
        ({"model_state": {}}, "carries no configuration"),
    ],
)
def test_bad_files(tmp_path, content, message):
    path = tmp_path / "file.pyth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(InputError, match=f"file.pyth: .*{message}"):
        load_model(path)
    with pytest.raises(InputError, match="no such checkpoint"):
        load_model(tmp_path / "absent.pyth")
    with pytest.raises(InputError, match="belongs to another architecture: it has no blocks"):
        load_weights(build_model(make_cfg("X3D")), {}, "empty")
