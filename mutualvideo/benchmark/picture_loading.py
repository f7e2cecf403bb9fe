"""Pictures: the input of four sub-networks against one, a mutual step against its parts."""

import tempfile
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from mutualvideo.benchmark.side_by_side import side_by_side
from mutualvideo.config import load_cfg
from mutualvideo.data.augment import Augmentation
from mutualvideo.data.loader import build_loader
from mutualvideo.engine.optimizer import build_optimizer
from mutualvideo.models import build_model
from mutualvideo.mutual import mutual_step
from mutualvideo.slim import extract, subnet_input, weights_layout
from mutualvideo.subnet import Subnet

_SIZE = 224
_SUBNETS = tuple(
    Subnet(width, None, size) for width, size in ((1, _SIZE), (0.7, 128), (0.85, 192), (0.9, 160))
)
_HEIGHT, _WIDTH, _CLASSES = 375, 500, 4


def images(repeats=7, pictures=256, batch=32, step_batch=8):
    """What training MobileNet v2 at 224 with four sub-networks costs on the CPU.

    The input: an epoch of our loader with 2 workers, against torchvision's reference pipeline
    (crop, mirror, normalise in the workers) at one size; first what leaves the loader, which is
    all that a GPU waits for, then normalised and made into the input of four sub-networks by the
    CPU as well. Pictures are JPEGs of 500x375. The milliseconds are those of one picture.

    The step: forward and backward of the four sub-networks in place and one update, against a
    plain step of each of the four as a network of its own, extracted.

    Args:
        repeats: epochs, or steps, of each.
        pictures: of an epoch.
        batch: of the input.
        step_batch: of the step.
    """
    cfg = _configuration(batch)
    found = _step(cfg, repeats, step_batch)
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(folder, pictures)
        cfg.DATA.PATH_TO_DATA_DIR = folder
        found.update(_pipeline(cfg, repeats, pictures, batch))
    return found


def _configuration(batch):
    keys = {
        "MODEL.ARCH": "2d",
        "MODEL.MODEL_NAME": "MobileNetV2",
        "MODEL.NUM_CLASSES": _CLASSES,
        "TRAIN.DATASET": "imagefolder",
        "TRAIN.BATCH_SIZE": batch,
        "DATA.TRAIN_CROP_SIZE": _SIZE,
        "DATA.TEST_CROP_SIZE": _SIZE,
        "DATA.TRAIN_JITTER_SCALES_RELATIVE": [0.25, 1.0],
        "DATA.TRAIN_JITTER_ASPECT_RELATIVE": [0.75, 1.3333],
        "MUTUAL.WIDTH_RANGE": [0.7, 1.0],
        "DATA_LOADER.NUM_WORKERS": 2,
    }
    return load_cfg(None, [text for key, value in keys.items() for text in (key, str(value))])


def write_pictures(folder, count):
    """Writes ``folder/train/CLASS/NUMBER.jpg``: detail at all scales, as photographs have."""
    draw = np.random.default_rng(0)
    for number in range(count):
        picture = np.zeros((_HEIGHT, _WIDTH, 3))
        for grain in (4, 16, 64, 256):
            shape = (-(-_HEIGHT // grain), -(-_WIDTH // grain), 3)
            small = Image.fromarray(draw.integers(0, 256, shape, np.uint8))
            picture += np.asarray(small.resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC)) / 4
        path = Path(folder) / "train" / f"class{number % _CLASSES}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.astype(np.uint8)).save(path, quality=90)


def _pipeline(cfg, repeats, pictures, batch):
    loader, augmentation = build_loader(cfg, "train"), Augmentation(cfg)
    model, device = build_model(cfg), torch.device("cpu")
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(_SIZE, scale=(0.25, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(cfg.DATA.MEAN, cfg.DATA.STD),
        ]
    )
    reference = DataLoader(
        torchvision.datasets.ImageFolder(f"{cfg.DATA.PATH_TO_DATA_DIR}/train", transform),
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=2,
        persistent_workers=True,
    )

    def loaded():
        for _ in loader:
            pass

    def derived():
        for found in loader:
            clips, _ = augmentation(found, device)
            for subnet in _SUBNETS:
                subnet_input(model, clips, subnet)

    def theirs():
        for _ in reference:
            pass

    compared = {}
    for name, ours in (
        ("loader, for any number of sub-networks / torchvision's for one size", loaded),
        ("the same with the input of 4 sub-networks made on the same CPU", derived),
    ):
        times = side_by_side(ours, theirs, repeats, name)
        compared[name] = {k: v if k == "ratio" else v / pictures for k, v in times.items()}
    return compared


def _step(cfg, repeats, batch):
    model = build_model(cfg)
    model.to(memory_format=weights_layout(model)).train()
    optimizer = build_optimizer(model, cfg)
    clips = torch.randn(batch, 3, _SIZE, _SIZE).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch) % _CLASSES
    alone = []
    for subnet in _SUBNETS:
        network = extract(model, subnet).train()
        one = torch.optim.SGD(network.parameters(), 0.01, 0.9, nesterov=True)
        alone.append((network, one, subnet_input(model, clips, subnet)))

    def mutual():
        optimizer.zero_grad(set_to_none=True)
        mutual_step(model, clips, labels, _SUBNETS)
        optimizer.step()

    def separate():
        for network, one, x in alone:
            one.zero_grad(set_to_none=True)
            F.cross_entropy(network(x), labels).backward()
            one.step()

    name = f"mutual step of MobileNet v2, {batch} pictures / its 4 extracted networks' steps"
    return {name: side_by_side(mutual, separate, repeats, name)}
