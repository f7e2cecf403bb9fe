"""Slimmable twins of layers that are subclasses with a forward of their own.

Users' networks have BatchNorms that also activate, or convolutions that pad as TensorFlow
does. Such a layer's own forward runs unchanged; while it runs, the attributes that it reads
(weight, bias, channel counts, statistics) are those of the sub-network.
"""

from functools import cache

from torch import nn

from mutualvideo.errors import InputError
from mutualvideo.slim.batch_norm_layers import BatchNormTwin
from mutualvideo.slim.layers import TWINS, ConvTwin, LinearTwin
from mutualvideo.slim.twin_base import Twin, slim_layers


class _Lent:
    """Mixed in before a twin's class: reads go to ``_lent`` first, while there is one."""

    def __getattribute__(self, name):
        lent = super().__getattribute__("__dict__").get("_lent")
        if lent is not None and name in lent:
            return lent[name]
        return super().__getattribute__(name)

    def __setattr__(self, name, value):
        lent = self.__dict__.get("_lent")
        if lent is not None and name in lent:
            lent[name] = value
        else:
            super().__setattr__(name, value)

    def forward(self, x, *args, **kwargs):
        return self._run_with(self._lend(x), x, *args, **kwargs)

    def _run_with(self, lent, *args, **kwargs):
        """The subclass's own forward while it reads ``lent``, a dict; ``None``: nothing is lent."""
        if lent is None:
            return self.static.forward(self, *args, **kwargs)
        self.__dict__["_lent"] = lent
        try:
            return self.static.forward(self, *args, **kwargs)
        finally:
            del self.__dict__["_lent"]

    def __reduce_ex__(self, protocol):
        # Pickle looks for classes by name, and this one is made.
        _, _, *state = super().__reduce_ex__(protocol)
        return _blank_twin, (self.static, plain_class(self)), *state


class _LentConv(_Lent):
    def _own_parameters(self):
        """(name, parameter) of those of the subclass's own, one number or more a channel made."""
        for name, tensor in self._parameters.items():
            if name not in ("weight", "bias") and tensor is not None and tensor.numel() > 1:
                yield name, tensor

    def to_static(self, arriving):
        own = {name: self._own(self._take_output(t)) for name, t in self._own_parameters()}
        super().to_static(arriving)
        for name, tensor in own.items():
            setattr(self, name, tensor)

    def _lend(self, x):
        arriving = x.shape[self.dim_of_channels(x)]
        weight, bias, groups = self.in_use(arriving)
        return {
            **{name: self._take_output(tensor) for name, tensor in self._own_parameters()},
            "weight": weight,
            "bias": bias,
            "groups": groups,
            "in_channels": arriving,
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


def require_shareable_norms(model):
    """Raises InputError if a BatchNorm of ``model`` cannot train on all processes' batches."""
    for _, layer in slim_layers(model, _LentBatchNorm):
        raise InputError(_cannot_share(layer))


def _cannot_share(layer):
    return (
        f"{layer.static.__name__}: a BatchNorm with a forward of its own cannot train on the "
        "batches of all processes together; let each process's BatchNorm take its own"
    )


class _LentBatchNorm(_Lent):
    def forward(self, x, *args, **kwargs):
        arriving, moves = x.shape[1], self.training and self.slim.is_full
        if self.training and self.slim.over_processes:
            # What it would be lent are constants to its gradient.
            raise InputError(_cannot_share(self))
        if not moves or self.slim.recomputing:
            return super().forward(x, *args, **kwargs)
        if arriving == self.num_features or self.running_mean is None:
            return self._run_with(None, x, *args, **kwargs)
        # The widest network of a range that ends below 1.
        with self._moving(arriving) as (mean, var, momentum):
            lent = self._lent_with(arriving, mean, var, *self._affine(arriving), True, momentum)
            out = self._run_with(lent, x, *args, **kwargs)
            for part, name in ((mean, "running_mean"), (var, "running_var")):
                if lent[name] is not part:  # assigned, not written to
                    part.copy_(lent[name])
            return out

    def _lend(self, x):
        arriving = x.shape[1]
        mean, var, *others = self.normalization(x)
        if self.training and self.slim.calibration is None and self.running_mean is not None:
            # For a forward that moves them itself: a sub-network's are forgotten after its pass.
            mean, var = (part.clone() for part in self._running(arriving))
        return self._lent_with(arriving, mean, var, *others)

    def _lent_with(self, arriving, mean, var, weight, bias, by_batch, momentum):
        counted = self.num_batches_tracked
        return {
            "weight": weight,
            "bias": bias,
            "running_mean": mean,
            "running_var": var,
            # A sub-network's pass is none of the full network's batches.
            "num_batches_tracked": None if counted is None else counted.clone(),
            "momentum": momentum,
            "training": by_batch,
            "num_features": arriving,
        }


class LayerNormTwin(Twin):
    """LayerNorm or RMSNorm over the channels: those that arrive, wherever the forward has them."""

    channel_dim = None  # where a subclass has them in another dimension than the last

    @property
    def over_last_dim(self):
        """Whether the forward is torch's own."""
        return self.static.forward in (nn.LayerNorm.forward, nn.RMSNorm.forward)

    def dim_of_channels(self, x):
        if self.channel_dim is not None:
            return self.channel_dim
        (channels,) = self.__dict__["normalized_shape"]
        last_dim = x.dim() - 1
        by_itself = self.over_last_dim or x.shape[last_dim] == channels
        return 1 if not by_itself and x.dim() > 2 and x.shape[1] == channels else last_dim

    def _affine(self, arriving):
        own = (self.weight, getattr(self, "bias", None))
        return tuple(None if t is None else self._take_input(t, arriving, 0) for t in own)

    _sliced = _parameters_in_use = _affine

    def to_static(self, arriving):
        weight, bias = (None if t is None else self._own(t) for t in self._affine(arriving))
        self.weight = weight
        if bias is not None:
            self.bias = bias
        self._count_is(arriving)
        self.__dict__.pop("channel_dim", None)
        self._become_static()

    def _count_is(self, arriving):
        self.normalized_shape = (arriving,)


class _LentLayerNorm(_Lent):
    def _lend(self, x):
        arriving = x.shape[self.dim_of_channels(x)]
        weight, bias = self.in_use(arriving)
        lent = {"weight": weight, "normalized_shape": (arriving,)}
        return lent if isinstance(self, nn.RMSNorm) else {**lent, "bias": bias}


class GroupNormTwin(LayerNormTwin):
    """GroupNorm with as many channels a group as the full network's, and fewer groups.

    So a group holds what it held, and answers what it answered. A single group holds all
    channels that arrive.
    """

    def dim_of_channels(self, x):
        return 1

    @property
    def reads_together(self):
        return self.num_channels // self.num_groups if self.num_groups > 1 else 1

    def groups_of(self, arriving):
        if self.num_groups == 1:
            return 1
        groups, rest = divmod(arriving, self.num_channels // self.num_groups)
        if rest:
            raise RuntimeError(f"GroupNorm: {arriving} channels arrive, which fill no groups")
        return groups

    def _count_is(self, arriving):
        self.num_groups, self.num_channels = self.groups_of(arriving), arriving


class _LentGroupNorm(_Lent):
    def _lend(self, x):
        weight, bias = self.in_use(x.shape[1])
        groups = self.groups_of(x.shape[1])
        return {"weight": weight, "bias": bias, "num_groups": groups, "num_channels": x.shape[1]}


# Dimensions of an input that is no batch.
_UNBATCHED = {nn.InstanceNorm1d: 2, nn.InstanceNorm2d: 3, nn.InstanceNorm3d: 4}


class InstanceNormTwin(LayerNormTwin):
    """InstanceNorm: every channel by itself."""

    def dim_of_channels(self, x):
        return 0 if x.dim() == _UNBATCHED[plain_class(self)] else 1

    def _affine(self, arriving):
        affine = self.weight, self.bias
        return tuple(None if t is None else self._take_input(t, arriving, 0) for t in affine)

    _sliced = _parameters_in_use = _affine

    def running(self, arriving):
        held = self.running_mean, self.running_var
        return tuple(None if t is None else self._take_input(t, arriving, 0) for t in held)

    def to_static(self, arriving):
        held = [None if t is None else t.detach().clone() for t in self.running(arriving)]
        super().to_static(arriving)
        if held[0] is not None:
            self.running_mean, self.running_var = held

    def _count_is(self, arriving):
        self.num_features = arriving


class _LentInstanceNorm(_Lent):
    def forward(self, x, *args, **kwargs):
        lent = self._lend(x)
        out = self._run_with(lent, x, *args, **kwargs)
        if self.training and self.slim.is_full and self.running_mean is not None:
            for name in ("running_mean", "running_var"):
                self._put_back(getattr(self, name), lent[name])
        return out

    def _lend(self, x):
        arriving = x.shape[self.dim_of_channels(x)]
        weight, bias = self.in_use(arriving)
        mean, var = self.running(arriving)
        if mean is not None and self.training and not self.slim.is_full:
            mean, var = mean.clone(), var.clone()  # only the full network moves them
        return {
            "weight": weight,
            "bias": bias,
            "running_mean": mean,
            "running_var": var,
            "num_features": arriving,
        }


class TransposedTwin(Twin):
    """Transposed convolution without groups: its weight is (channels in, channels out, ...)."""

    @property
    def makes(self):
        return self.out_channels

    def dim_of_channels(self, x):
        return x.dim() - 1 - len(self.kernel_size)

    def _sliced(self, arriving):
        weight = self._take_input(self._take_output(self.weight, 1), arriving, 0)
        return weight, None if self.bias is None else self._take_output(self.bias)

    _parameters_in_use = _sliced

    def to_static(self, arriving):
        weight, bias = self._sliced(arriving)
        self.weight = self._own(weight)
        self.bias = None if bias is None else self._own(bias)
        self.in_channels, self.out_channels = weight.shape[:2]
        self._become_static()


class _LentTransposed(_Lent):
    def _lend(self, x):
        weight, bias = self.in_use(x.shape[self.dim_of_channels(x)])
        counts = {"in_channels": weight.shape[0], "out_channels": weight.shape[1]}
        return {"weight": weight, "bias": bias, **counts}


_KINDS = {
    ConvTwin: _LentConv,
    LinearTwin: _LentLinear,
    BatchNormTwin: _LentBatchNorm,
    InstanceNormTwin: _LentInstanceNorm,
    GroupNormTwin: _LentGroupNorm,
    LayerNormTwin: _LentLayerNorm,
    TransposedTwin: _LentTransposed,
}

# Layers that always compute with what they are lent, by the forward that they have.
LENT = {
    nn.LayerNorm: LayerNormTwin,
    nn.RMSNorm: LayerNormTwin,
    nn.GroupNorm: GroupNormTwin,
    nn.InstanceNorm1d: InstanceNormTwin,
    nn.InstanceNorm2d: InstanceNormTwin,
    nn.InstanceNorm3d: InstanceNormTwin,
    nn.ConvTranspose1d: TransposedTwin,
    nn.ConvTranspose2d: TransposedTwin,
    nn.ConvTranspose3d: TransposedTwin,
}


def plain_class(module):
    """The torch layer that ``module`` is or comes from, of those that have a twin; or ``None``."""
    return next((plain for plain in (*TWINS, *LENT) if isinstance(module, plain)), None)


@cache
def twin_of(own, plain):
    """The twin of ``own``: the torch layer ``plain``, or a subclass with its own forward."""
    kind = LENT.get(plain) or next(kind for kind in _KINDS if issubclass(TWINS[plain], kind))
    return type(f"Slim{own.__name__}", (_KINDS[kind], kind, own), {"static": own})


def _blank_twin(own, plain):
    """One without attributes, for pickle to fill."""
    kind = twin_of(own, plain)
    return kind.__new__(kind)
