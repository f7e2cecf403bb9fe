"""Batches of the loader to network input, on the device: everything that computes on pixels.

A batch of training holds, beside ``label``:

- ``clip``: uint8 (B, 3, T, H, W), or (B, 3, H, W) for images, channels last in memory: regions
  as :func:`mutualvideo.data.regions.stack_regions` packs them;
- ``size``: int64 (B, 2), the height and width of each;
- ``mirror``: bool (B,);
- ``seed``: int64 (B,), not negative. All that is drawn here for a sample comes from its seed,
  whichever worker or process has it and whatever stands beside it. (Mixing pairs samples: there
  the batch decides.)

A batch of testing has none of the three, and clips that are cropped already.
"""

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from mutualvideo.data.auto_augment import build_auto_augment
from mutualvideo.data.mixing import Mixing
from mutualvideo.data.randomness import seeded_draws
from mutualvideo.data.regions import as_frames, resample_regions
from mutualvideo.data.transforms import normalize
from mutualvideo.errors import InputError

_ERASING_MODES = ("pixel", "rand", "const")


def plain_input(batch, cfg, device, size=None):
    """Network input without augmentation: of testing, calibration, and where it is off.

    The random crops and mirrored clips of training stay random: they are pictures like any.

    Args:
        batch: of training or of testing, see the module.
        cfg: the configuration; its ``DATA`` section is read.
        device: where the batch goes.
        size: side of the squares of training, in pixels; ``None``: DATA.TRAIN_CROP_SIZE.

    Returns:
        float32 tensor of the shape of the clips, normalised, channels last in memory.
    """
    return normalize(_squares(batch, cfg, device, size), cfg.DATA.MEAN, cfg.DATA.STD)


class Augmentation:
    """Training batches to network input and targets.

    In this order: regions resampled to TRAIN_CROP_SIZE and mirrored; RandAugment, AutoAugment
    or random colours; normalisation; random erasing and cutout; mixup or cutmix. Operations are
    torchvision's but for cutout, and the same for all frames of a clip.

    Args:
        cfg: the configuration; ``AUG``, ``MIXUP``, ``DATA`` and ``MODEL`` are read.

    Attributes:
        label_smoothing: what is left to the loss: MODEL.LABEL_SMOOTHING, or 0 where the
            targets are smooth already (MIXUP.LABEL_SMOOTH_VALUE).

    Raises:
        InputError: naming the key of ``AUG`` or ``MIXUP`` that means nothing.
    """

    def __init__(self, cfg):
        aug = cfg.AUG
        self._cfg = cfg
        self._auto_augment, self._hiders = None, []
        if aug.ENABLE:
            self._auto_augment = build_auto_augment(aug.AA_TYPE, aug.COLOR_JITTER, cfg.DATA.MEAN)
            if aug.RE_PROB:
                self._hiders.append(RandomErasing(aug.RE_PROB, aug.RE_MODE))
            if aug.CUTOUT:
                self._hiders.append(Cutout(aug.CUTOUT))
        self._mixing = Mixing(cfg.MIXUP, cfg.MODEL.NUM_CLASSES) if cfg.MIXUP.ENABLE else None
        self.label_smoothing = 0.0 if self._mixing else cfg.MODEL.LABEL_SMOOTHING

    def __call__(self, batch, device, size=None):
        """Clips and targets of ``batch`` on ``device``; ``size`` as :func:`plain_input` takes it.

        Torch's global generators are left as they were.

        Returns:
            float32 (B, 3, T, S, S) or (B, 3, S, S), normalised, channels last in memory; and
            the labels, int64 (B,), or with MIXUP.ENABLE float32 (B, classes) that sum to 1; with
            DATA.MULTI_LABEL float32 (B, classes) from 0 to 1.
        """
        labels = batch["label"].to(device, non_blocking=True)
        if self._auto_augment is None and not self._hiders:
            clips = plain_input(batch, self._cfg, device, size)
        else:
            clips = self._augmented(batch, device, size)
        if self._mixing is None:
            return clips, labels
        return self._mixing(clips, labels, batch["seed"])

    def _augmented(self, batch, device, size):
        squares = _squares(batch, self._cfg, device, size)
        boxes = []
        for square, seed in zip(squares, batch["seed"].tolist(), strict=True):
            frames = as_frames(square)
            with seeded_draws(seed):
                if self._auto_augment is not None:
                    frames.copy_(self._auto_augment(frames))
                boxes.append([hider.draw(frames) for hider in self._hiders])
        clips = normalize(squares, self._cfg.DATA.MEAN, self._cfg.DATA.STD)
        for clip, drawn in zip(clips, boxes, strict=True):
            for box in drawn:
                if box is not None:
                    F.erase(as_frames(clip), **box, inplace=True)
        return clips


class RandomErasing:
    """Boxes that hide a part of normalised frames, by the rule of ``v2.RandomErasing``.

    Zhong et al., "Random erasing data augmentation": 2 to 33 % of the area.

    Args:
        probability: AUG.RE_PROB.
        mode: AUG.RE_MODE. ``const`` fills with 0, the mean; ``rand`` with one normally
            distributed colour, ``pixel`` with one for each pixel, the same in all frames.

    Raises:
        InputError: for another mode or an impossible probability.
    """

    def __init__(self, probability, mode):
        if not 0 <= probability <= 1:
            raise InputError(f"AUG.RE_PROB must be from 0 to 1, not {probability}")
        if mode not in _ERASING_MODES:
            raise InputError(
                f"AUG.RE_MODE {mode!r} is unknown; choose from: {', '.join(_ERASING_MODES)}"
            )
        self._probability, self._mode = probability, mode
        self._rule = v2.RandomErasing(value="random" if mode == "pixel" else 0)

    def draw(self, frames):
        """Arguments of torchvision's ``erase`` for frames (T, C, H, W), or ``None``: no box.

        Draws from torch's global generator of the CPU.
        """
        if torch.rand(()) >= self._probability:
            return None
        box = self._rule.make_params([frames])
        if box["v"] is None:  # no box was found that fits
            return None
        if self._mode == "rand":
            box["v"] = torch.randn(frames.shape[-3], 1, 1)
        return {**box, "v": box["v"].to(frames.device)}


class Cutout:
    """A square of the mean colour around a random pixel; a part of it may lie outside.

    DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout"
    (arXiv 1708.04552).

    Args:
        length: AUG.CUTOUT, side of the square in pixels.

    Raises:
        InputError: if it is not positive.
    """

    def __init__(self, length):
        if length < 1:
            raise InputError(f"AUG.CUTOUT must be at least 0 pixels, not {length}")
        self._length = length

    def draw(self, frames):
        """Arguments of torchvision's ``erase`` for frames (T, C, H, W), see the class above."""
        place = []
        for extent in frames.shape[-2:]:
            start = int(torch.randint(extent, ())) - self._length // 2
            place.append((max(0, start), min(extent, start + self._length)))
        (top, bottom), (left, right) = place
        return {
            "i": top,
            "j": left,
            "h": bottom - top,
            "w": right - left,
            "v": torch.zeros(1, 1, 1, device=frames.device),
        }


def _squares(batch, cfg, device, size):
    """uint8 clips on ``device``, cropped and mirrored, channels last in memory."""
    clips = batch["clip"].to(device, non_blocking=True)
    if "size" in batch:
        size = cfg.DATA.TRAIN_CROP_SIZE if size is None else size
        return resample_regions(clips, batch["size"], size, batch["mirror"])
    layout = torch.channels_last_3d if clips.dim() == 5 else torch.channels_last
    return clips.contiguous(memory_format=layout)
