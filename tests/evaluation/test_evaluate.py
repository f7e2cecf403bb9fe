"""Accuracy of views and videos, against plain loops in float64, over one to three processes."""

import os
from dataclasses import astuple

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from mutualvideo.data import dataset as dataset_module
from mutualvideo.data.loader import build_loader
from mutualvideo.errors import InputError
from mutualvideo.evaluation.evaluate import calibrate_from, evaluate
from mutualvideo.evaluation.grid import grid_subnets
from mutualvideo.media.reading import open_reader
from mutualvideo.models import build_model
from mutualvideo.run import distributed
from mutualvideo.run.distributed import Context
from mutualvideo.subnet import Subnet
from tests.evaluation import listed
from tests.evaluation.listed import SUBNETS, VIEWS, ListedLoader

CPU = Context(torch.device("cpu"))
VIDEOS = 11
# Two of six views of one came, and none of the other.
LOST = {4: 2, 7: 0}


def found_by(loader, context=CPU):
    return evaluate(listed.network(), SUBNETS, loader, listed.configuration(), context)


@pytest.fixture(scope="module")
def stored():
    clips, labels = listed.clips_of(VIDEOS)
    model = listed.network()
    return clips, labels, {s: listed.softmax_by_hand(model, s, clips) for s in SUBNETS}


def check(evaluation, stored, rows):
    """``evaluation``, of the main process, is that of ``rows`` counted by hand."""
    _, labels, softmax = stored
    assert list(evaluation.accuracies) == SUBNETS
    for subnet in SUBNETS:
        wanted = listed.accuracy_by_hand(softmax[subnet][rows], labels[rows])
        assert astuple(evaluation.accuracies[subnet]) == pytest.approx(wanted, abs=1e-9)
        predictions = evaluation.predictions[subnet]
        assert predictions.rows.tolist() == rows
        assert predictions.labels.tolist() == labels[rows].tolist()
        scores = softmax[subnet][rows].mean(1)
        order = np.argsort(-scores, axis=1)[:, :5]
        assert np.array_equal(predictions.classes, order)
        wanted = np.take_along_axis(scores, order, 1)
        np.testing.assert_allclose(predictions.scores, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
def test_equals_counting_by_hand(stored, batch_size):
    clips, labels, softmax = stored
    found = found_by(ListedLoader(clips, labels, batch_size))
    check(found, stored, list(range(VIDEOS)))
    assert (found.videos, found.expected, found.missing) == (VIDEOS, VIDEOS, ())
    # The data tells the four numbers apart.
    assert len({round(value, 6) for value in astuple(found.accuracies[SUBNETS[0]])}) == 4
    best = {s: softmax[s].mean(1).argmax(1).tolist() for s in SUBNETS}
    assert len({tuple(classes) for classes in best.values()}) > 1


def test_fewer_than_five_classes_are_all_among_the_best(stored):
    clips, labels, _ = stored
    model = listed.network()
    model[-1] = torch.nn.Linear(32, 3)
    loader = ListedLoader(clips, labels % 3, 4)
    full = [listed.FULL]
    found = evaluate(model, full, loader, listed.configuration(), CPU)
    assert found.accuracies[listed.FULL].top5 == found.accuracies[listed.FULL].clip_top5 == 100
    assert found.predictions[listed.FULL].classes.shape == (VIDEOS, 3)


def test_missing_videos_do_not_count_and_are_named(stored, caplog):
    clips, labels, _ = stored
    found = found_by(ListedLoader(clips, labels, 4, lost=LOST))
    check(found, stored, [row for row in range(VIDEOS) if row not in LOST])
    assert (found.videos, found.expected) == (VIDEOS - 2, VIDEOS)
    assert [astuple(video) for video in found.missing] == [
        ("4.mp4", "is damaged"),
        ("7.mp4", "is damaged"),
    ]
    assert "evaluated 9 of 11 videos of the list; 4.mp4: is damaged (and 1 more)" in caplog.text


def test_views_that_did_not_come_are_missed_without_being_reported(stored):
    clips, labels, _ = stored
    loader = ListedLoader(clips, labels, 4, lost=LOST)
    loader.bad = type("Silent", (dict,), {"__setitem__": lambda *_: None})()
    found = found_by(loader)
    assert [video.reason for video in found.missing] == [
        f"2 of its {VIEWS} views came",
        "none of its views came",
    ]


def test_nothing_evaluated_is_an_error(stored):
    clips, labels, _ = stored
    lost = dict.fromkeys(range(VIDEOS), 1)
    with pytest.raises(InputError, match="evaluated 0 of 11 videos .*0.mp4: .*and 10 more") as info:
        found_by(ListedLoader(clips, labels, 4, lost=lost))
    assert "\n" not in str(info.value)


def test_a_view_that_comes_twice_is_a_bug(stored):
    clips, labels, _ = stored

    class Padded(ListedLoader):
        def __iter__(self):
            batches = list(super().__iter__())
            yield from batches + batches[:1]

    with pytest.raises(RuntimeError, match="view 0 of video 0 came twice"):
        found_by(Padded(clips, labels, 4))


def one_rank(rank, ports, folder):
    torch.set_num_threads(1)
    for world_size, port in ports.items():
        if rank < world_size:
            os.environ.update(
                RANK=str(rank),
                WORLD_SIZE=str(world_size),
                LOCAL_RANK=str(rank),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(port),
            )
            context = distributed.setup()
            torch.save(share_of(rank, world_size, context), f"{folder}/{rank}of{world_size}.pt")
            distributed.cleanup()


def share_of(rank, world_size, context):
    clips, labels = listed.clips_of(VIDEOS)
    share = {"rank": rank, "world_size": world_size}
    found = {
        # Batches of other sizes, and other numbers of them, in every process.
        "whole": found_by(ListedLoader(clips, labels, 3 + rank, **share), context),
        "lost": found_by(ListedLoader(clips, labels, 4, lost=LOST, **share), context),
        # The last of three processes gets no video.
        "two": found_by(ListedLoader(clips[:2], labels[:2], 4, **share), context),
    }
    # Every process stops, so that none waits for another.
    lost = dict.fromkeys(range(VIDEOS), 0)
    with pytest.raises(InputError, match="evaluated 0 of 11"):
        found_by(ListedLoader(clips, labels, 4, lost=lost, **share), context)
    return found


def test_processes_together_find_what_one_finds(stored, tmp_path, unused_ports):
    # Joined by the same processes one after the other: starting them takes the time.
    ports = dict(zip((3, 2), unused_ports(2), strict=True))
    mp.spawn(one_rank, (ports, tmp_path), nprocs=3)
    clips, labels, _ = stored
    alone = {
        "whole": found_by(ListedLoader(clips, labels, 4)),
        "lost": found_by(ListedLoader(clips, labels, 4, lost=LOST)),
        "two": found_by(ListedLoader(clips[:2], labels[:2], 4)),
    }
    for world_size in (2, 3):
        for rank in range(world_size):
            found = torch.load(tmp_path / f"{rank}of{world_size}.pt", weights_only=False)
            for case, evaluation in found.items():
                assert evaluation.accuracies == alone[case].accuracies
                assert evaluation.missing == alone[case].missing
                assert evaluation.videos == alone[case].videos
                assert bool(evaluation.predictions) == (rank == 0)
        main = torch.load(tmp_path / f"0of{world_size}.pt", weights_only=False)
        check(main["whole"], stored, list(range(VIDEOS)))
        check(main["lost"], stored, [row for row in range(VIDEOS) if row not in LOST])
        check(main["two"], stored, [0, 1])


def test_rows_larger_than_what_is_tested_are_refused(tiny):
    """They would be pictures blown up, at the cost of large ones."""
    cfg = tiny(DATA__TEST_CROP_SIZE=32, TABLE__SIZES=[40, 32])
    with pytest.raises(InputError, match="0.5x4x40 is larger than DATA.TEST_CROP_SIZE 32"):
        grid_subnets(cfg)
    assert grid_subnets(tiny(DATA__TEST_CROP_SIZE=32, TABLE__SIZES=[32]))


def test_a_grid_decodes_every_video_as_often_as_one_sub_network(tiny, monkeypatch):
    cfg = tiny()
    subnets = [Subnet.parse(text) for text in ("1x4x40", "0.5x4x40", "0.5x2x32", "1x2x32")]
    model = build_model(cfg)
    calibrate_from(build_loader(cfg, "calibration"), model, subnets, cfg, CPU)
    opened = []

    def spy(video, backend):
        opened.append(video.path)
        return open_reader(video, backend)

    monkeypatch.setattr(dataset_module, "open_reader", spy)
    alone = {}
    for subnet in subnets:
        opened.clear()
        found = evaluate(model, [subnet], build_loader(cfg, "test"), cfg, CPU)
        alone |= found.accuracies
        once = sorted(opened)
    opened.clear()
    found = evaluate(model, subnets, build_loader(cfg, "test"), cfg, CPU)
    assert sorted(opened) == once and len(set(once)) == 4
    assert found.accuracies == alone
