"""Mixup and cutmix: pairs of clips of a batch, and their labels, in one."""

import numpy as np
import torch
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from mutualvideo.data.randomness import seeded_draws
from mutualvideo.errors import InputError


class Mixing:
    """Mixes every sample of a batch with the one before it, all in the same proportion.

    torchvision's ``MixUp`` (Zhang et al., "mixup: beyond empirical risk minimization") and
    ``CutMix`` (Yun et al.); which of them, and whether at all, is drawn for each batch. In a
    clip all frames are mixed alike.

    Args:
        mixup: section ``MIXUP`` of the configuration, enabled.
        num_classes: length of the targets.

    Raises:
        InputError: naming the key, for numbers that are impossible.
    """

    def __init__(self, mixup, num_classes):
        for key in ("PROB", "SWITCH_PROB", "LABEL_SMOOTH_VALUE"):
            if not 0 <= mixup[key] <= 1:
                raise InputError(f"MIXUP.{key} must be from 0 to 1, not {mixup[key]}")
        for key in ("ALPHA", "CUTMIX_ALPHA"):
            if mixup[key] < 0:
                raise InputError(f"MIXUP.{key} must not be negative, not {mixup[key]}")
        if not (mixup.ALPHA or mixup.CUTMIX_ALPHA):
            raise InputError(
                "MIXUP.ALPHA and MIXUP.CUTMIX_ALPHA are both 0: set one, or MIXUP.ENABLE False"
            )
        self._classes, self._smoothing = num_classes, mixup.LABEL_SMOOTH_VALUE
        self._prob, self._switch_prob = mixup.PROB, mixup.SWITCH_PROB
        self._mixup = v2.MixUp(alpha=mixup.ALPHA) if mixup.ALPHA else None
        self._cutmix = v2.CutMix(alpha=mixup.CUTMIX_ALPHA) if mixup.CUTMIX_ALPHA else None

    def __call__(self, clips, labels, seeds):
        """Mixed clips and targets.

        Args:
            clips: float (B, C, T, H, W) or (B, C, H, W).
            labels: int64 (B,), on the same device; or float32 (B, classes), 1 for each of a
                sample's labels.
            seeds: int64 (B,), not negative, on the CPU; the draws of the batch come from them
                alone, torch's global generators stay as they are.

        Returns:
            The clips, and float32 (B, classes): shares of the classes, which sum to 1. The
            smoothing is in them (1 - s for the label, s spread over all classes). With several
            labels the mean of the marks, each of which the smoothing draws to 1/2.
        """
        if labels.is_floating_point():
            targets = labels * (1 - self._smoothing) + self._smoothing / 2
        else:
            targets = F.one_hot(labels, self._classes).to(torch.float32)
            targets = targets * (1 - self._smoothing) + self._smoothing / self._classes
        seed = np.random.SeedSequence(seeds.tolist()).generate_state(1)[0]
        with seeded_draws(seed):
            mix = self._draw()
            if mix is None:
                return clips, targets
            kind = tv_tensors.Video if clips.dim() == 5 else tv_tensors.Image
            mixed, targets = mix(kind(clips), targets)
        return mixed.as_subclass(torch.Tensor), targets

    def _draw(self):
        if torch.rand(()) >= self._prob:
            return None
        if self._mixup is None or self._cutmix is None:
            return self._mixup or self._cutmix
        return self._cutmix if torch.rand(()) < self._switch_prob else self._mixup
