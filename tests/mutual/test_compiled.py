"""Compiled training passes, against the same passes uncompiled, and the number of graphs."""

import copy
import shutil

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch._dynamo.backends.registry import lookup_backend
from torch.nn.parallel import DistributedDataParallel

from mutualvideo.errors import InputError
from mutualvideo.models import build_model, full_subnet
from mutualvideo.models.blocks import blocks
from mutualvideo.mutual import Passes, SubnetSampler, compile_training, mutual_step
from mutualvideo.slim import calibrate, get_statistics, set_subnet, slimmable, training_shape
from mutualvideo.slim.recompute import recompute
from mutualvideo.subnet import Subnet
from tests.networks import make_cfg, make_clip

FULL = Subnet(1, 4, 16)


@pytest.fixture(autouse=True)
def no_graphs_yet():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def network():
    torch.manual_seed(0)
    norms = [nn.BatchNorm3d(16) for _ in range(2)]
    blocks = [
        nn.Sequential(nn.Conv3d(3, 16, 3, padding=1), norms[0], nn.ReLU()),
        nn.Sequential(nn.Conv3d(16, 16, 3, 1, 1, groups=16), norms[1], nn.Conv3d(16, 32, 1)),
    ]
    head = [nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(32, 5)]
    return slimmable(nn.Sequential(*blocks, *head), (0.5, 1), full=FULL).double().train()


def sampler(full=FULL, frames=(4, 2), sizes=(16, 12, 8), low=0.5, widths=(0.5, 0.75, 1.0)):
    return SubnetSampler(
        full, "mutual", (low, 1.0), 2, frames if full.frames else (), sizes, 0, widths=widths
    )


def counted(name, graphs):
    """The backend ``name`` that adds to the list ``graphs``."""

    def backend(module, inputs):
        graphs.append(module)
        return lookup_backend(name)(module, inputs)

    return backend


def batch(full=FULL, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    frames = () if full.frames is None else (full.frames,)
    clips = torch.randn(2, 3, *frames, full.size, full.size, generator=generator, dtype=dtype)
    return clips, torch.tensor([0, 1])


def assert_same(compiled, plain, tolerance=1e-5):
    for (name, mine), wanted in zip(compiled.named_parameters(), plain.parameters(), strict=True):
        scale = wanted.grad.norm() + 1e-6
        assert (mine.grad - wanted.grad).norm() < tolerance * scale, name
    torch.testing.assert_close(
        compiled.state_dict(), plain.state_dict(), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("blocks", [0, 2], ids=["plain", "recomputed"])
def test_a_graph_for_each_width_and_the_same_gradients(blocks):
    plain, graphs = network(), []
    model = copy.deepcopy(plain)
    recompute(model, model[:blocks])
    draws = sampler(widths=(0.5, 1.0))
    compile_training(model, draws.grid(), 3, counted("aot_eager", graphs))
    shapes = set()
    for step in range(10):
        subnets = draws.draw(step)
        shapes |= {(subnet.frames, subnet.size) for subnet in subnets}
        for one in (model, plain):
            one.zero_grad(set_to_none=True)
            mutual_step(one, *batch(), subnets)
        assert_same(model, plain)
    # Of two widths, and of the wider once more: it is the teacher, or a pupil.
    assert len(graphs) == 3 and len(shapes) == 6


@pytest.mark.slow
def test_steps_of_other_clips_need_a_bounded_number_of_graphs():
    """Multigrid: fewer frames, smaller, more clips, and BatchNorm in parts."""
    plain, graphs = network(), []
    model = copy.deepcopy(plain)
    draws = sampler(widths=(0.5, 1.0))
    kinds = [(4, 2, Subnet(1, 2, 12)), (2, 1, FULL)]
    grid = draws.grid()
    with pytest.raises(InputError, match="need 6 graphs, and .* fewer shapes of clips .MULTIGRID"):
        compile_training(model, grid, 5, "aot_eager", steps=kinds)
    compile_training(model, grid, 6, counted("aot_eager", graphs), steps=kinds)
    for step in range(4):
        clips, parts, full = kinds[step // 2]
        generator = torch.Generator().manual_seed(step)
        shape = clips, 3, full.frames, full.size, full.size
        batch = torch.randn(shape, generator=generator, dtype=torch.float64)
        for one in (model, plain):
            one.zero_grad(set_to_none=True)
            with training_shape(one, full, parts):
                mutual_step(one, batch, torch.arange(clips) % 5, draws.draw(step, full))
        assert_same(model, plain)
    assert len(graphs) <= 6


def test_evaluation_calibration_and_copies_run_uncompiled():
    plain, graphs = network(), []
    model = copy.deepcopy(plain)
    compile_training(model, sampler().grid(), 4, counted("aot_eager", graphs))
    clips, labels = batch()
    subnets = [FULL, Subnet(0.5, 2, 8)]
    mutual_step(model, clips, labels, subnets)
    assert len(graphs) == 2
    copy.deepcopy(model)(clips)
    for one in (model, plain):
        calibrate(one, subnets, [clips])
    with torch.no_grad():
        model(clips)  # in training mode
    set_subnet(model.eval(), Subnet(0.5, 2, 12))
    model(clips).sum().backward()
    assert len(graphs) == 2
    set_subnet(plain.eval(), FULL)
    for subnet, found in get_statistics(model)["subnets"].items():
        wanted = get_statistics(plain)["subnets"][subnet]
        torch.testing.assert_close(found, wanted)
    mutual_step(model.train(), clips, labels, [FULL, Subnet(0.5, 4, 12)])
    assert len(graphs) == 2


def test_under_distributed_data_parallel(tmp_path):
    plain, graphs = network(), []
    model = copy.deepcopy(plain)
    compile_training(model, sampler().grid(), 4, counted("aot_eager", graphs))
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        parallel = DistributedDataParallel(model)
        for one, around in ((model, parallel), (plain, None)):
            mutual_step(one, *batch(), [FULL, Subnet(0.5, 2, 8)], passes=Passes(around))
    finally:
        dist.destroy_process_group()
    assert_same(model, plain)
    assert graphs


def test_autocast_is_the_same():
    # Clips of 2x8x8 would not do: oneDNN's weight gradient of them in bfloat16 reads memory that
    # nobody wrote, on an AMD EPYC.
    plain, graphs = network().float(), []
    model = copy.deepcopy(plain)
    compile_training(model, sampler().grid(), 4, counted("aot_eager", graphs))
    passes = Passes(precision=torch.bfloat16)
    for one in (model, plain):
        subnets = [FULL, Subnet(0.5, 4, 16)]
        mutual_step(one, *batch(dtype=torch.float32), subnets, passes=passes)
    assert len(graphs) == 2
    assert_same(model, plain, tolerance=0.05)  # bfloat16 has three digits


def test_more_graphs_than_the_bound():
    grid = sampler().grid()
    with pytest.raises(InputError, match="need 4 graphs, and TRAIN.COMPILE_GRAPHS is 3"):
        compile_training(network(), grid, 3, "eager")
    # inductor makes them for one shape, on the CPU: three widths of six.
    with pytest.raises(InputError, match="need 18 graphs.*MUTUAL.FRAMES or MUTUAL.SIZES"):
        compile_training(network(), grid, 17)
    model = network()
    compile_training(model, grid, 4, "eager")
    for width in (0.5, 0.6, 0.7, 0.8):
        set_subnet(model, Subnet(width, 4, 16))
        model(batch()[0])
    set_subnet(model, FULL)
    with pytest.raises(InputError, match="more graphs than TRAIN.COMPILE_GRAPHS 4"):
        model(batch()[0])


def test_batches_over_processes_are_refused():
    model = network()
    model.slim_state.over_processes = True
    with pytest.raises(InputError, match="TRAIN.COMPILE: BN.NORM_TYPE sync_batchnorm"):
        compile_training(model, [FULL], 1)


def test_a_network_with_pathways_needs_a_graph_for_each_subnetwork():
    model = build_model(make_cfg("SlowFast"))
    full = full_subnet(make_cfg("SlowFast"))
    grid = sampler(full, (4, 2), (64, 48), 0.63, (0.63, 1.0)).grid()
    with pytest.raises(InputError, match="need 8 graphs.*MUTUAL.FRAMES or MUTUAL.SIZES"):
        compile_training(model, grid, 7)


def shortened(model, clips):
    """``model`` without the blocks that keep the shape: it compiles in less time."""
    needless = []

    def see(block, inputs, out):
        if inputs[0].shape == out.shape:
            needless.append(block)

    handles = [block.register_forward_hook(see) for block in blocks(model)]
    with torch.no_grad():
        model.eval()(clips)
    for handle in handles:
        handle.remove()
    for name, module in list(model.named_modules()):
        if module in needless:
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, nn.Identity())
    return model


@pytest.mark.slow
# The one of clips, the one with pathways, one of pictures: each takes ten seconds and more.
@pytest.mark.parametrize("name", ["X3D", "SlowFast", "WideResNet"])
def test_networks(name):
    torch.manual_seed(0)
    no_dropout = {} if name == "WideResNet" else {"MODEL__DROPOUT_RATE": 0}
    small = {"DATA__TRAIN_CROP_SIZE": 32, "DATA__TEST_CROP_SIZE": 32}
    cfg = make_cfg(name, **small, **no_dropout)
    clips, labels = make_clip(cfg, dtype=torch.float64), torch.tensor([0, 1])
    plain, graphs = shortened(build_model(cfg).double(), clips).train(), []
    model = copy.deepcopy(plain)
    shapes = ((2,), (32,)) if name == "SlowFast" else ((4, 2), (32, 24))
    draws = sampler(full_subnet(cfg), *shapes, 0.63, (0.63,))
    compile_training(model, draws.grid(), 2, counted("aot_eager", graphs))
    for step in range(2):
        for one in (model, plain):
            one.zero_grad(set_to_none=True)
            mutual_step(one, clips, labels, draws.draw(step))
        assert_same(model, plain)
    assert len(graphs) == 2


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler")
def test_inductor():
    plain = network()
    model = copy.deepcopy(plain)
    draws = sampler(frames=(4,), sizes=(12,), widths=(0.5,))
    compile_training(model, draws.grid(), 2)
    for step in range(2):
        for one in (model, plain):
            one.zero_grad(set_to_none=True)
            mutual_step(one, *batch(), draws.draw(step))
        assert_same(model, plain)
