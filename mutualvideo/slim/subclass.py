"""Slimmable twins of layers that are subclasses with a forward of their own.

Users' networks have BatchNorms that also activate, or convolutions that pad as TensorFlow
does. Such a layer's own forward runs unchanged; while it runs, the attributes that it reads
(weight, bias, channel counts, statistics) are those of the sub-network.
"""

from functools import cache

from mutualvideo.errors import InputError
from mutualvideo.slim.layers import TWINS, BatchNormTwin, ConvTwin, LinearTwin


class _Lent:
    """Mixed in before a twin's class: reads go to ``_lent`` first, while there is one."""

    def __getattribute__(self, name):
        lent = super().__getattribute__("__dict__").get("_lent")
        if lent is not None and name in lent:
            return lent[name]
        return super().__getattribute__(name)

    def forward(self, x, *args, **kwargs):
        lent = self._lend(x)
        if lent is None:
            return self.static.forward(self, x, *args, **kwargs)
        self.__dict__["_lent"] = lent
        try:
            return self.static.forward(self, x, *args, **kwargs)
        finally:
            del self.__dict__["_lent"]


class _LentConv(_Lent):
    def _lend(self, x):
        weight, bias, groups = self.in_use(x.shape[1])
        return {
            "weight": weight,
            "bias": bias,
            "groups": groups,
            "in_channels": x.shape[1],
            "out_channels": weight.shape[0],
        }


class _LentLinear(_Lent):
    def _lend(self, x):
        weight, bias = self.in_use(x.shape[-1])
        return {
            "weight": weight,
            "bias": bias,
            "in_features": x.shape[-1],
            "out_features": weight.shape[0],
        }


class _LentBatchNorm(_Lent):
    def _lend(self, x):
        if self.training and self.slim.over_processes:
            # What it would be lent are constants to its gradient.
            raise InputError(
                f"{self.static.__name__}: a BatchNorm with a forward of its own cannot train on "
                "the batches of all processes together; set BN.NORM_TYPE batchnorm"
            )
        if self.training and self.slim.is_full and not self.slim.recomputing:
            return None
        mean, var, weight, bias, by_batch, momentum = self.normalization(x)
        return {
            "weight": weight,
            "bias": bias,
            "running_mean": mean,
            "running_var": var,
            # No counting: a sub-network's pass is none of the full network's batches.
            "num_batches_tracked": None,
            "momentum": momentum,
            "training": by_batch,
            "num_features": x.shape[1],
        }


_KINDS = {ConvTwin: _LentConv, LinearTwin: _LentLinear, BatchNormTwin: _LentBatchNorm}


@cache
def twin_of(own, plain):
    """The twin of ``own``, a subclass of the torch layer ``plain`` with a forward of its own."""
    kind = next(kind for kind in _KINDS if issubclass(TWINS[plain], kind))
    return type(f"Slim{own.__name__}", (_KINDS[kind], kind, own), {"static": own})
