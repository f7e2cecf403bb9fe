"""Switching between two frames: who answers, when, at what cost, and that it is equal again."""

import pytest
import torch

from mutualvideo.continual import ContinualNetwork, FrameStream
from mutualvideo.continual.frame_stream import takes
from mutualvideo.errors import InputError
from mutualvideo.frame_indices import frame_indices
from mutualvideo.slim import resample_clip, set_subnet
from mutualvideo.subnet import Subnet
from tests.continual.references import give_statistics, plain, small_network

SIZE, FULL = 32, 3
WIDE, NARROW = Subnet(1, FULL, SIZE), Subnet(0.63, FULL, SIZE)
SMALL = Subnet(0.8, FULL, 24)
FEW = Subnet(0.8, 2, SIZE)


@pytest.fixture(scope="module", params=["X3D", "ResNet"])
def network(request):
    model = small_network(request.param)
    for subnet in (NARROW, SMALL, FEW):
        give_statistics(model, subnet)
    return model


def stream_of(network, subnet, **options):
    return FrameStream(
        lambda wanted: ContinualNetwork(network, subnet=wanted), FULL, subnet, **options
    )


def reference(network, frames, subnet):
    """Logits of the plain network over all ``frames`` (B, 3, T, S, S)."""
    set_subnet(network, subnet)
    clip = resample_clip(frames, frames.shape[2], subnet.size)
    return plain(network, clip, subnet.frames)


def feed(stream, frames):
    with torch.no_grad():
        return [stream.step(frame) for frame in frames.unbind(2)]


def clip(count, batch=1):
    torch.manual_seed(count)
    return torch.randn(batch, 3, count, SIZE, SIZE)


@pytest.mark.parametrize("wider", [WIDE, SMALL])
def test_beside_the_old_one_answers_until_the_new_one_is_full(network, wider):
    stream = stream_of(network, NARROW)
    delay = ContinualNetwork(network, subnet=NARROW).delay
    feed(stream, clip(2))
    stream.switch(wider)
    assert (stream.subnet, stream.wanted) == (NARROW, wider)
    after = clip(delay + FULL + 1)
    answers = feed(stream, after)
    # As many frames as are said, on each of which both are computed.
    old, new = (ContinualNetwork(network, subnet=s).macs() for s in (NARROW, wider))
    assert [a.subnet for a in answers] == [NARROW] * (delay + FULL - 1) + [wider] * 2
    assert [a.filling for a in answers] == [*range(delay + FULL - 1, -1, -1), 0]
    assert [a.macs for a in answers] == [old + new] * (delay + FULL) + [new]
    assert answers[-2].warming_up == answers[-1].warming_up == 0
    # The plain network, over the frames that the new one has seen.
    assert (stream.end() - reference(network, after, wider)).abs().max() < 1e-4


@pytest.mark.parametrize("wider", [WIDE, SMALL])
def test_at_once_it_answers_with_the_next_frame(network, wider):
    stream = stream_of(network, NARROW, filling="at once")
    model = ContinualNetwork(network, subnet=wider)
    before, after = clip(model.fills_after + 3), clip(2)
    feed(stream, before)
    stream.switch(wider)
    answers = feed(stream, after)
    assert [a.subnet for a in answers] == [wider] * 2
    assert [a.warming_up for a in answers] == [0, 0]
    assert [a.macs for a in answers] == [(model.fills_after + 1) * model.macs(), model.macs()]
    seen = torch.cat([before[:, :, -model.fills_after :], after], 2)
    assert (stream.end() - reference(network, seen, wider)).abs().max() < 1e-4


def test_a_narrower_one_answers_at_once_and_says_how_long_it_warms_up(network):
    stream = stream_of(network, WIDE, batch=2)
    feed(stream, clip(2, batch=2))
    stream.switch(NARROW)
    model = ContinualNetwork(network, subnet=NARROW)
    answers = feed(stream, clip(2, batch=2))
    assert [a.subnet for a in answers] == [NARROW] * 2
    assert [a.warming_up for a in answers] == [model.memory - 1, model.memory - 2]
    assert [a.macs for a in answers] == [model.macs()] * 2


def test_a_change_of_mind_costs_nothing(network):
    stream = stream_of(network, NARROW)
    feed(stream, clip(1))
    for subnet in (WIDE, WIDE, NARROW):
        stream.switch(subnet)
    (answer,) = feed(stream, clip(1))
    assert (answer.subnet, answer.filling) == (NARROW, 0)
    assert answer.macs == ContinualNetwork(network, subnet=NARROW).macs()


def test_fewer_frames_are_further_apart(network):
    stream = stream_of(network, FEW)
    frames = clip(5)
    answers = feed(stream, frames)
    assert [a.fresh for a in answers] == [True, False, True, False, True]
    assert [a.macs > 0 for a in answers] == [True, False, True, False, True]
    assert torch.equal(answers[1].logits, answers[0].logits)
    assert (stream.end() - reference(network, frames[:, :, ::2], FEW)).abs().max() < 1e-4


@pytest.mark.parametrize("full, frames", [(16, 6), (16, 13), (16, 10), (16, 16), (8, 5), (8, 2)])
def test_frames_are_as_far_apart_as_in_clips(full, frames):
    """Every full - 1 frames the pattern of the clip's frames repeats, the last being the first."""
    taken = [n for n in range(3 * (full - 1) + 1) if takes(frames, full, n)]
    steps = {b - a for a, b in zip(taken, taken[1:], strict=False)}
    wanted = frame_indices(full, frames)
    assert steps == {b - a for a, b in zip(wanted, wanted[1:], strict=False)}
    assert len(taken) == 3 * (frames - 1) + 1
    assert all(takes(1, full, n) for n in range(5))


def test_other_ways_to_fill_are_refused(network):
    with pytest.raises(InputError, match="choose beside or at once"):
        stream_of(network, WIDE, filling="never")
