"""The continual form against the plain network over the whole clip."""

import io

import pytest
import torch

from mutualvideo.continual import ContinualNetwork
from mutualvideo.errors import InputError
from mutualvideo.models import build_model
from mutualvideo.slim import count_macs, extract, set_subnet
from tests.continual.references import give_statistics, plain, small_network, switched
from tests.networks import few_blocks, make_cfg

NETWORKS = [
    ("X3D", {}),
    pytest.param("X3D", {"X3D__DEPTH_FACTOR": 2.2}, marks=pytest.mark.slow),  # X3D-XS, S and M
    ("ResNet", {}),
    ("ResNet", {"MODEL__ARCH": "slow_c2d"}),
    ("ResNet", {"MODEL__ARCH": "slow_i3d"}),
]
KINDS = ["X3D", "ResNet"]


@pytest.fixture(scope="module")
def networks():
    """Built once each, by name."""
    return {name: small_network(name) for name in KINDS}


def feed(model, frames, state):
    """Logits after the last of ``frames`` (B, 3, T, S, S), and the state."""
    with torch.no_grad():
        for frame in frames.unbind(2):
            logits, state = model.step(frame, state)
    return logits, state


@pytest.mark.parametrize("name, settings", NETWORKS)
def test_a_clip_frame_by_frame_is_the_plain_networks(name, settings):
    model = small_network(name, **settings)
    clip = torch.randn(2, 3, 4, 32, 32)
    for width in (1, 0.8, 0.63):
        subnet = switched(model, width)
        give_statistics(model, subnet)
        with torch.no_grad():
            found = ContinualNetwork(model).clip(clip)
        wanted = plain(model, clip, window=4)
        assert 0.05 < wanted.std() < 50
        assert (found - wanted).abs().max() < 1e-4
        if name == "ResNet":
            # Nothing to be averaged before the head: the network as it is.
            with torch.no_grad():
                assert (found - model(clip)).abs().max() < 1e-4


@pytest.mark.parametrize("name", KINDS)
def test_a_stream_longer_than_the_window(networks, name):
    model = networks[name]
    switched(model, 0.8)
    clip = torch.randn(1, 3, 9, 32, 32)
    with torch.no_grad():
        found = ContinualNetwork(model).clip(clip)
    assert (found - plain(model, clip, window=4)).abs().max() < 1e-4


@pytest.mark.parametrize("name", KINDS)
def test_an_answer_lags_and_remembers_as_many_frames_as_is_said(networks, name):
    """Frames older than the memory change nothing; the oldest and the newest in it do."""
    network = networks[name]
    switched(network, 0.63, frames=2)
    model = ContinualNetwork(network)
    count = model.memory
    frames = torch.randn(1, 3, count + 1, 32, 32)
    logits, _ = feed(model, frames, model.start())
    frames.requires_grad_(True)
    state = model.start()
    for frame in frames.unbind(2):
        answer, state = model.step(frame, state)
    assert torch.allclose(answer, logits, atol=1e-5)
    (grad,) = torch.autograd.grad(answer.square().sum(), frames)
    touched = grad.flatten(3).abs().amax((0, 1, 3)) > 0
    assert touched.tolist() == [False] + [True] * count


def test_the_delay_is_half_the_receptive_field(networks):
    """X3D: a stem of 5 frames, and 3 in every block; Slow: 3 frames in the last two stages."""
    for name, blocks, stem in (("X3D", 11, 2), ("ResNet", 4, 0)):
        model = ContinualNetwork(networks[name], window=4, size=32)
        assert model.delay == stem + blocks
        assert model.receptive_field == 2 * model.delay + 1


@pytest.mark.parametrize("name", KINDS)
def test_streams_in_one_batch_have_states_of_their_own(networks, name):
    network = networks[name]
    switched(network, 0.8)
    model = ContinualNetwork(network)
    early, late = torch.randn(1, 3, 7, 32, 32), torch.randn(1, 3, 3, 32, 32)
    apart, _ = feed(model, early, model.start())
    alone, _ = feed(model, late, model.start())
    _, first = feed(model, early[:, :, :4], model.start())
    second = model.start()
    both = {key: torch.cat([first[key], second[key]]) for key in first}
    saved = io.BytesIO()
    torch.save(both, saved)
    saved.seek(0)
    both = torch.load(saved, weights_only=True)
    kept = {key: tensor.clone() for key, tensor in both.items()}
    logits, after = feed(model, torch.cat([early[:, :, 4:], late]), both)
    assert torch.allclose(logits[:1], apart, atol=1e-5)
    assert torch.allclose(logits[1:], alone, atol=1e-5)
    assert after["count"].tolist() == [7, 3]
    assert all(torch.equal(both[key], kept[key]) for key in both), "a step changed its input"
    ahead = {key: tensor[:1] for key, tensor in after.items()}
    assert feed(model, early[:, :, :1], ahead)[0].shape == (1, 7)


@pytest.mark.parametrize("name", KINDS)
def test_an_extracted_network_answers_the_same(networks, name):
    network = networks[name]
    subnet = switched(network, 0.63)
    clip = torch.randn(1, 3, 4, 32, 32)
    static = ContinualNetwork(extract(network, subnet, fold=True), window=4, size=32)
    with torch.no_grad():
        assert (static.clip(clip) - ContinualNetwork(network).clip(clip)).abs().max() < 1e-4


@pytest.mark.parametrize("name", KINDS)
def test_a_narrower_one_takes_the_state_over(networks, name):
    """Its answers are those of the plain narrow network again after the stated number of frames."""
    network = networks[name]
    switched(network, 1, frames=2)
    model = ContinualNetwork(network)
    before = torch.randn(1, 3, 3, 32, 32)
    _, state = feed(model, before, model.start())
    switched(network, 0.63, frames=2)
    state = model.fit(state)
    assert state["warming"].item() == model.memory
    frames = torch.randn(1, 3, model.memory, 32, 32)
    _, state = feed(model, frames[:, :, :-1], state)
    assert state["warming"].item() == 1
    logits, state = feed(model, frames[:, :, -1:], state)
    assert state["warming"].item() == 0
    # The plain network has padding before its first frame: frames of its own keep it away.
    _, never = feed(model, before, model.start())
    wanted, _ = feed(model, frames, never)
    assert (logits - wanted).abs().max() < 1e-4
    # ... which is the plain network's: the end of the stream shows it.
    ended = model.ended(state)
    for _ in range(model.delay):
        logits, ended = feed(model, frames[:, :, -1:], ended)
    reference = plain(network, torch.cat([before, frames], 2), window=2)
    assert (logits - reference).abs().max() < 1e-4


def test_what_does_not_fit_is_refused(networks):
    network = networks["X3D"]
    switched(network, 0.63)
    model = ContinualNetwork(network)
    state = model.start()
    with pytest.raises(InputError, match=r"expected a frame \(B, 3, 32, 32\)"):
        model.step(torch.zeros(1, 3, 64, 64), state)
    with pytest.raises(InputError, match="another batch"):
        model.step(torch.zeros(2, 3, 32, 32), state)
    switched(network, 1)
    with pytest.raises(InputError, match="another sub-network"):
        model.step(torch.zeros(1, 3, 32, 32), state)
    with pytest.raises(InputError, match="only narrower"):
        model.fit(state)
    switched(network, 0.63, size=64)
    with pytest.raises(InputError, match="start anew"):
        model.fit(state)
    network.train()
    with pytest.raises(InputError, match="eval"):
        model.step(torch.zeros(1, 3, 64, 64), model.start())
    network.eval()


@pytest.mark.parametrize(
    "name, settings, reason",
    [
        ("SlowFast", {}, "SlowFast has two frame rates"),
        ("ResNet", {"MODEL__ARCH": "i3d"}, "pools over frames"),
        ("ResNet", {"NONLOCAL__LOCATION": "[[[]], [[0]], [[]], [[]]]"}, "non-local blocks"),
    ],
)
def test_networks_without_a_continual_form(name, settings, reason):
    with few_blocks():
        model = build_model(make_cfg(name, **settings))
    with pytest.raises(InputError, match=reason):
        ContinualNetwork(model)


def test_a_module_without_a_continual_form_is_named():
    network = torch.nn.Sequential(torch.nn.Conv3d(3, 8, 3, padding=1), torch.nn.LSTM(8, 8))
    with pytest.raises(InputError, match=r"1 \(LSTM\) has no continual form"):
        ContinualNetwork(network)
    network = torch.nn.Sequential(torch.nn.Conv3d(3, 8, 3))
    with pytest.raises(InputError, match="0 changes the number of frames"):
        ContinualNetwork(network)


@pytest.mark.parametrize("name", KINDS)
def test_a_frame_costs_its_share_of_a_clip(networks, name):
    """What comes before the head's pool is counted once a frame, what comes after it whole."""
    network = networks[name]
    for width in (1, 0.63):
        one = switched(network, width, frames=1)
        model = ContinualNetwork(network)
        assert model.macs() == count_macs(network, one)
        assert model.nbytes() == sum(t.numel() * t.element_size() for t in model.start().values())
    set_subnet(network, one)
