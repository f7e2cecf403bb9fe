"""Slimmable twins of BatchNorm, whose statistics belong to sub-networks."""

from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F

from mutualvideo.slim.statistics import sync_norm
from mutualvideo.slim.twin_base import Twin, slim_layers


@torch.no_grad()
def _move(held, found, momentum):
    """Moves the statistics ``held`` towards those of a batch, in place."""
    for mine, batch in zip(held, found, strict=True):
        mine.lerp_(batch.to(mine.dtype), momentum)


class BatchNormTwin(Twin):
    """BatchNorm whose running statistics belong to the full network.

    A sub-network trains on the statistics of its own batch and updates nothing. In eval it
    runs on statistics of its own, found by the sub-network's key in ``statistics``; one
    that was never calibrated runs on the prefix of the full network's, which is right for
    costs and equality tests and meaningless for accuracy.
    """

    # In training too the full network normalises by its running statistics, which do not move.
    frozen = False
    # {Subnet: (mean, var)}, float32 (channels,); beside the state dict, not in it.
    statistics = None

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        for subnet, pair in self.statistics.items():
            self.statistics[subnet] = tuple(fn(tensor) for tensor in pair)
        return self

    def _affine(self, arriving):
        if not self.affine:
            return None, None
        return self._take_input(self.weight, arriving, 0), self._take_input(self.bias, arriving, 0)

    _parameters_in_use = _affine

    def population(self, arriving):
        """Mean and variance to normalise with in eval."""
        own = self.statistics.get(self.slim.subnet)
        return self._running(arriving) if own is None else own

    def _running(self, arriving):
        """The part of the running statistics that belongs to the channels that arrive."""
        mean = self._take_input(self.running_mean, arriving, 0)
        return mean, self._take_input(self.running_var, arriving, 0)

    @contextmanager
    def _moving(self, arriving):
        """Yields (mean, var, momentum) to move; they are the running statistics afterwards."""
        self.num_batches_tracked += 1
        momentum = self.momentum
        momentum = 1 / float(self.num_batches_tracked) if momentum is None else momentum
        parts = self._running(arriving)
        yield *parts, momentum
        for whole, part in zip((self.running_mean, self.running_var), parts, strict=True):
            self._put_back(whole, part)

    def _collected(self, x):
        """What calibration collects, for ``F.batch_norm`` to update, and the momentum to do it by.

        Every use counts as its batch does: a norm may be used several times in a pass.
        """
        # The first batch has weight 1, so what they start from does not matter.
        like = x if self.running_mean is None else self.running_mean  # float32 under autocast
        zeros = tuple(like.new_zeros(x.shape[1]) for _ in range(2))
        found = self.statistics.setdefault(self.slim.subnet, zeros)
        return found, self.slim.calibration.share_of_use(self)

    @property
    def _keeps_running(self):
        """Whether the full network normalises by the running statistics even in training."""
        return self.frozen and self.slim.is_full and self.running_mean is not None

    def normalization(self, x):
        """Arguments of ``F.batch_norm`` for ``x``, unless the full network trains.

        The full network that recomputes in training has its arguments from here, too.

        Returns:
            (mean, var, weight, bias, use the batch's statistics, momentum).
        """
        arriving = x.shape[1]
        if self.slim.calibration is not None and self._keeps_running:
            running = self._running(arriving)
            self.statistics[self.slim.subnet] = tuple(one.clone() for one in running)
            return *running, *self._affine(arriving), False, 0.0
        if self.slim.calibration is not None:
            collected, momentum = self._collected(x)
            if not self.slim.over_processes:
                return *collected, *self._affine(arriving), True, momentum
            mean, var, unbiased = sync_norm.batch_moments(x)
            _move(collected, (mean, unbiased), momentum)
            return mean, var, *self._affine(arriving), False, 0.0
        if self.training and self.slim.is_full and self.running_mean is not None:
            # Recomputing: these are given, and do not move.
            return *self._running(arriving), *self._affine(arriving), True, 0.0
        if self.training or self.running_mean is None:
            return None, None, *self._affine(arriving), True, 0.0
        return *self.in_use(arriving), False, 0.0

    def _sliced(self, arriving):
        return *self.population(arriving), *self._affine(arriving)

    def forward(self, x):
        if x.is_meta and self.slim.shapes_only:
            return torch.empty_like(x)  # the operation itself takes long to find its shape
        if self.training and self._keeps_running:
            running, affine = self._running(x.shape[1]), self._affine(x.shape[1])
            return F.batch_norm(x, *running, *affine, False, 0.0, self.eps)
        if self.training and self.slim.norm_parts > 1 and len(x) > 1:
            return self._forward_in_parts(x, min(self.slim.norm_parts, len(x)))
        if self.training and self.slim.over_processes:
            return self._forward_over_processes(x)
        if self.training and self.slim.is_full and not self.slim.recomputing:
            if x.shape[1] == self.num_features or self.running_mean is None:
                return super().forward(x)
            # The widest network of a range that ends below 1.
            with self._moving(x.shape[1]) as (mean, var, momentum):
                affine = self._affine(x.shape[1])
                return F.batch_norm(x, mean, var, *affine, True, momentum, self.eps)
        return F.batch_norm(x, *self.normalization(x), self.eps)

    def _forward_in_parts(self, x, count):
        """Each part by its own statistics; the running ones move as if it were one batch."""
        affine, over = self._affine(x.shape[1]), self.slim.over_processes
        outs, means, variances, parts = [], [], [], x.tensor_split(count)
        for part in parts:
            if over:
                mean, var, _ = sync_norm.batch_moments(part)
                outs.append(sync_norm.normalize(part, mean, var, *affine, self.eps))
            else:
                # float32 under autocast, as the running statistics are.
                mean, var = x.new_zeros((2, x.shape[1]), dtype=self._kept_dtype(x)).unbind()
                outs.append(F.batch_norm(part, mean, var, *affine, True, 1.0, self.eps))
                values = part.numel() // part.shape[1]
                var = var * ((values - 1) / values)  # torch moves the unbiased one
            means.append(mean.detach())
            variances.append(var.detach())
        if self.slim.is_full and not self.slim.recomputing and self.running_mean is not None:
            means = torch.stack(means)
            # Parts may differ by a clip.
            share = means.new_tensor([len(part) / len(x) for part in parts])[:, None]
            mean = (share * means).sum(0)
            # What varies within parts, and between them.
            var = (share * (torch.stack(variances) + (means - mean) ** 2)).sum(0)
            values = x.numel() // x.shape[1]
            if over:
                values = sync_norm.count_over_processes(values, x.device)
            var = var * (values / max(1, values - 1))
            with self._moving(x.shape[1]) as (*running, momentum):
                _move(running, (mean, var), momentum)
        return torch.cat(outs)

    def _kept_dtype(self, x):
        return x.dtype if self.running_mean is None else self.running_mean.dtype

    def _forward_over_processes(self, x):
        mean, var, unbiased = sync_norm.batch_moments(x)
        moves = self.slim.is_full and not self.slim.recomputing
        if moves and self.running_mean is not None:
            with self._moving(x.shape[1]) as (*running, momentum):
                _move(running, (mean, unbiased), momentum)
        return sync_norm.normalize(x, mean, var, *self._affine(x.shape[1]), self.eps)

    def to_static(self, arriving):
        weight, bias = self._affine(arriving)
        if self.running_mean is not None:
            mean, var = (tensor.detach().clone() for tensor in self.population(arriving))
            self.running_mean, self.running_var = mean, var
        if self.affine:
            self.weight, self.bias = self._own(weight), self._own(bias)
        self.num_features = arriving
        for name in ("statistics", "frozen"):
            self.__dict__.pop(name, None)
        self._become_static()


class SlimBatchNorm1d(BatchNormTwin, nn.BatchNorm1d):
    static = nn.BatchNorm1d


class SlimBatchNorm2d(BatchNormTwin, nn.BatchNorm2d):
    static = nn.BatchNorm2d


class SlimBatchNorm3d(BatchNormTwin, nn.BatchNorm3d):
    static = nn.BatchNorm3d


def batch_norms(model):
    """(name, layer) of every slimmable BatchNorm of ``model``."""
    return slim_layers(model, BatchNormTwin)
