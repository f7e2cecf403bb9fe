"""A loader of stored clips, as ``ClipLoader`` is for val and test, and the reference for it."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mutualvideo import Subnet, get_cfg, slimmable
from mutualvideo.data.annotations import Video
from mutualvideo.slim import extract

CLASSES, VIEWS, FRAMES, SIZE = 7, 6, 4, 16
FULL, NARROW, SMALL = (Subnet.parse(text) for text in ("1x4x16", "0.5x4x16", "0.5x2x8"))
# Not by shape: the order of the answers must be that of the question.
SUBNETS = [SMALL, FULL, NARROW]
MEAN, STD = (0.4, 0.45, 0.5), (0.2, 0.225, 0.25)


def network():
    """No BatchNorm, so nothing to calibrate; answers that differ from video to video."""
    torch.manual_seed(0)
    model = slimmable(
        nn.Sequential(
            nn.Conv3d(3, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv3d(16, 32, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
            nn.Linear(32, CLASSES),
        ),
        (0.5, 1),
        full=FULL,
    )
    with torch.no_grad():
        # Around what the features of a grey clip give, so that no class is always the best.
        model[-1].weight *= 60
        model[-1].bias.copy_(-model[-1].weight @ model[:-1](torch.zeros(1, 3, 4, SIZE, SIZE))[0])
    return model.eval()


def configuration():
    cfg = get_cfg()
    cfg.DATA.MEAN, cfg.DATA.STD, cfg.MODEL.NUM_CLASSES = list(MEAN), list(STD), CLASSES
    return cfg


def clips_of(videos):
    """uint8 (videos, VIEWS, 3, FRAMES, SIZE, SIZE) of random colour and contrast, and labels."""
    draw = np.random.default_rng(3)
    level = draw.integers(0, 130, (videos, 1, 3, 1, 1, 1)) + draw.integers(
        0, 100, (videos, VIEWS, 3, 1, 1, 1)
    )
    noise = draw.integers(0, 26, (videos, VIEWS, 3, FRAMES, SIZE, SIZE))
    return (level + noise).astype(np.uint8), draw.integers(0, CLASSES, videos)


class _Listed:
    num_views = VIEWS

    def __init__(self, labels):
        self.videos = [
            Video(f"/data/{n}.mp4", int(label), n + 1, f"{n}.mp4") for n, label in enumerate(labels)
        ]

    def __len__(self):
        return len(self.videos)


class ListedLoader:
    """Every ``world_size``-th video, in batches that begin anywhere in a video.

    Args:
        lost: ``{row: views that came before the video turned out not to decode}``.
    """

    def __init__(self, clips, labels, batch_size, rank=0, world_size=1, lost=()):
        self.dataset, self.bad = _Listed(labels), {}
        self._clips, self._batch_size, self._lost = clips, batch_size, dict(lost)
        self._rows = range(rank, len(labels), world_size)

    def __len__(self):
        views = sum(self._lost.get(row, VIEWS) for row in self._rows)
        return -(-views // self._batch_size)

    def __iter__(self):
        keys = []
        for row in self._rows:
            if row in self._lost:
                self.bad[row] = f"/data/{row}.mp4: is\ndamaged"
            keys += [(row, view) for view in range(self._lost.get(row, VIEWS))]
        for first in range(0, len(keys), self._batch_size):
            part = keys[first : first + self._batch_size]
            rows, views = (torch.tensor(values) for values in zip(*part, strict=True))
            yield {
                "clip": torch.from_numpy(self._clips[rows.numpy(), views.numpy()]),
                "label": torch.tensor([self.dataset.videos[row].label for row, _ in part]),
                "video": rows,
                "view": views,
            }


def softmax_by_hand(model, subnet, clips):
    """float64 (videos, VIEWS, CLASSES): every view alone through the extracted network."""
    static = extract(model, subnet).double().eval()
    found = np.zeros((*clips.shape[:2], CLASSES))
    for video, view in np.ndindex(*clips.shape[:2]):
        clip = clips[video, view].astype(np.float64) / 255
        clip = (clip - np.array(MEAN).reshape(3, 1, 1, 1)) / np.array(STD).reshape(3, 1, 1, 1)
        if subnet.frames == 2:
            clip = clip[:, [0, 3]]
        pictures = torch.from_numpy(clip).transpose(0, 1)
        if subnet.size != SIZE:
            size = (subnet.size, subnet.size)
            pictures = F.interpolate(pictures, size, mode="bilinear", antialias=True)
        with torch.no_grad():
            logits = static(pictures.transpose(0, 1)[None])[0].numpy()
        powers = [np.exp(value - max(logits)) for value in logits]
        found[video, view] = [power / sum(powers) for power in powers]
    return found


def accuracy_by_hand(softmax, labels):
    """(top1, top5, clip_top1, clip_top5) in percent, by counting."""

    def rank_of(scores, label):
        return sum(score > scores[label] for score in scores)

    videos = [
        rank_of(sum(views) / len(views), label)
        for views, label in zip(softmax, labels, strict=True)
    ]
    clips = [
        rank_of(view, label) for views, label in zip(softmax, labels, strict=True) for view in views
    ]
    return tuple(
        100 * sum(rank < k for rank in ranks) / len(ranks)
        for ranks in (videos, clips)
        for k in (1, 5)
    )
