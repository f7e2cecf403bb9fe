"""Accuracy of rows in continual form, against the plain network slid over whole videos."""

import pytest
import torch
from fvcore.nn.squeeze_excitation import SqueezeExcitation

from mutualvideo.config import get_cfg
from mutualvideo.continual import ContinualNetwork
from mutualvideo.data.annotations import Video
from mutualvideo.data.transforms import normalize
from mutualvideo.errors import InputError
from mutualvideo.evaluation.continual_rows import check_continual, continual_rows, for_streams
from mutualvideo.evaluation.streams import calibration_streams
from mutualvideo.media import open_video
from mutualvideo.slim import batch_norms, resample_clip, set_subnet
from mutualvideo.subnet import Subnet
from tests.continual.references import give_statistics, over_windows, small_network
from tests.networks import make_cfg
from tests.runtime.conftest import write_video  # noqa: F401  (fixture)

SIZE = 32
WIDE, FEW = Subnet(1, 4, SIZE), Subnet(0.63, 2, 24)
LOOK = get_cfg().DATA.MEAN, get_cfg().DATA.STD
# Of 30 a second, since four frames span 16, the first and the last of them; two frames of four are
# three times as far apart.
APART = 5
COUNTS = {WIDE: (1, 6.0), FEW: (3, 2.0)}


def configuration():
    return make_cfg(
        "X3D",
        DATA__NUM_FRAMES=4,
        DATA__SAMPLING_RATE=4,
        DATA__TEST_CROP_SIZE=SIZE,
        DATA__TRAIN_CROP_SIZE=SIZE,
        TABLE__LATENCY=False,
    )


def slid(network, clip, subnet):
    """Mean softmax of the plain network whose head pools over each position of the window."""
    set_subnet(network, subnet)
    taken = clip[:, :, :: COUNTS[subnet][0]]
    x = resample_clip(taken, taken.shape[2], subnet.size)
    scores = []
    for end in range(min(subnet.frames, x.shape[2]), x.shape[2] + 1):

        def pool(module, inputs, end=end):
            return (inputs[0][:, :, :end],)

        handle = network.blocks[-1].pool.pool.register_forward_pre_hook(pool)
        with over_windows(subnet.frames), torch.no_grad():
            scores.append(network(x).softmax(1)[0])
        handle.remove()
    return torch.stack(scores).mean(0)


def test_accuracy_is_that_of_sliding_the_plain_network(write_video):  # noqa: F811
    cfg, network = configuration(), small_network("X3D")
    assert any(isinstance(module, SqueezeExcitation) for module in network.modules())
    for subnet in (WIDE, FEW):
        give_statistics(network, subnet)
    lengths = (46, 16, 6)
    paths = [write_video(f"{n}.mp4", frames=n, height=SIZE, width=SIZE) for n in lengths]
    clips = []
    for path in paths:
        with open_video(path) as reader:
            pixels = torch.from_numpy(reader.read(list(range(0, len(reader), APART)), SIZE))
        clips.append(normalize(pixels.permute(3, 0, 1, 2)[None], cfg.DATA.MEAN, cfg.DATA.STD))
    wanted = {s: [int(slid(network, clip, s).argmax()) for clip in clips] for s in (WIDE, FEW)}
    # Of the wide one, the first and the last are right.
    labels = [wanted[WIDE][0], (wanted[WIDE][1] + 1) % 7, wanted[WIDE][2]]
    pairs = zip(paths, labels, strict=True)
    videos = [Video(str(p), label, n, p.name) for n, (p, label) in enumerate(pairs)]
    found = continual_rows(network, [WIDE, FEW], videos, cfg)
    assert found[WIDE].top1 == pytest.approx(200 / 3)
    right = sum(a == b for a, b in zip(wanted[FEW], labels, strict=True))
    assert found[FEW].top1 == pytest.approx(100 * right / 3)
    assert found.metadata == {"videos": 3, "expected": 3}
    for subnet, (_, rate) in COUNTS.items():
        row, form = found[subnet], ContinualNetwork(network, subnet=subnet)
        assert row.frames_per_s == pytest.approx(rate)
        assert (row.macs, row.delay) == (form.macs(), form.delay)


def test_streams_to_calibrate_on(write_video):  # noqa: F811
    """The shorter ones together, cut to the shortest; three clips of 4 frames at most.

    The ninth would be alone: of one short stream there is no variance at the network's end.
    """
    cfg = configuration()
    cfg.TABLE.CALIBRATION_BATCHES, cfg.TRAIN.BATCH_SIZE = 2, 5
    lengths = (96, 16, 26, 11, 21, 71, 36, 46, 31)
    paths = [write_video(f"{n}.mp4", frames=n, height=SIZE, width=SIZE) for n in lengths]
    videos = [Video(str(path), 0, n, path.name) for n, path in enumerate(paths)]
    batches = list(calibration_streams(videos, cfg))
    assert [tuple(batch.shape) for batch in batches] == [(8, 3, 3, SIZE, SIZE)]
    with open_video(paths[3]) as reader:
        pixels = torch.from_numpy(reader.read([0, APART, 2 * APART], SIZE)).permute(3, 0, 1, 2)
    torch.testing.assert_close(batches[0][0], normalize(pixels[None], *LOOK)[0])
    cfg.TRAIN.BATCH_SIZE = 2
    assert sum(len(batch) for batch in calibration_streams(videos, cfg)) == 4
    (alone,) = calibration_streams(videos[:1], cfg)
    assert len(alone) == 2 and torch.equal(alone[0], alone[1])


def test_a_single_video_of_one_frame(write_video):  # noqa: F811
    network, cfg = small_network("X3D"), configuration()
    give_statistics(network, WIDE)
    path = write_video("a.mp4", frames=1, height=SIZE, width=SIZE)
    found = for_streams(network, {WIDE: "calibrated"}, [Video(str(path), 0, 0, path.name)], cfg)
    assert all(norm.statistics[WIDE][0].isfinite().all() for _, norm in batch_norms(found))


def test_which_sub_networks_are_calibrated_on_streams(write_video):  # noqa: F811
    network, cfg = small_network("X3D"), configuration()
    for subnet in (WIDE, FEW):
        give_statistics(network, subnet)
    path = write_video("a.mp4", frames=46, height=SIZE, width=SIZE)
    videos = [Video(str(path), 0, 0, path.name)]
    found = for_streams(network, {WIDE: "calibrated", FEW: "own"}, videos, cfg)
    for (_, of_clips), (_, of_streams) in zip(
        batch_norms(network), batch_norms(found), strict=True
    ):
        assert torch.equal(of_clips.statistics[FEW][0], of_streams.statistics[FEW][0])
        assert not torch.equal(of_clips.statistics[WIDE][0], of_streams.statistics[WIDE][0])


def test_videos_that_do_not_decode_are_not_counted(tmp_path):
    network = small_network("X3D")
    give_statistics(network, WIDE)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    video = Video(str(broken), 0, 1, broken.name)
    with pytest.raises(InputError, match="no video of the list decodes"):
        continual_rows(network, [WIDE], [video], configuration())
    with pytest.raises(InputError, match="never calibrated"):
        continual_rows(network, [FEW], [video], configuration())


def test_several_labels_have_no_continual_rows():
    cfg = configuration()
    cfg.TABLE.CONTINUAL = True
    check_continual(cfg)
    cfg.DATA.MULTI_LABEL = True
    with pytest.raises(InputError, match="TABLE.CONTINUAL: .*set TABLE.CONTINUAL False"):
        check_continual(cfg)
