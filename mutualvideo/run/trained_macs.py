"""How many multiply-adds a training has computed, counted while it runs."""

from collections import Counter

from mutualvideo.slim import count_costs, set_subnet, slim_state, training_shape
from mutualvideo.slim.twin_base import slim_layers

# A backward pass computes two products for every one of the forward pass.
_PASSES = 3
# Networks that are counted for clips of one shape. Where widths are drawn from a range there are
# thousands; the others' multiply-adds are estimated from these.
_COUNTED = 200


class TrainedMacs:
    """Multiply-adds of the steps of a run, forward and backward, of all processes together.

    A step costs a look at its sub-networks; their multiply-adds are counted when :meth:`total` is
    asked for, each network once in a run. Exact where at most 200 different ones run on clips of
    one shape; of more, the others' are estimated by width² x frames x size², in proportion.

    Args:
        model: the slimmable network.
        full: its full :class:`~mutualvideo.subnet.Subnet`.
        before: multiply-adds of the steps before.
        costs: what counts them, as :func:`~mutualvideo.slim.count_costs` does.
    """

    def __init__(self, model, full, before=0, costs=count_costs):
        self._model, self._full, self._before, self._costs = model, full, before, costs
        self._shapes = {}

    def add(self, subnets, clips, clip=None):
        """Counts one step.

        Args:
            subnets: that ran in it.
            clips: of all processes together.
            clip: what :meth:`~mutualvideo.mutual.SubnetSampler.draw` cut them to.
        """
        shape = self._shapes.setdefault(clip, _Shape())
        for subnet in subnets:
            shape.add(self._model, subnet, clips)

    def total(self):
        """int: of all steps so far."""
        found = 0
        for clip, shape in self._shapes.items():
            full = self._full if clip is None else self._full.within(clip)
            with training_shape(self._model, full):
                found += shape.macs(self._model, self._costs)
        set_subnet(self._model, slim_state(self._model).full)
        return self._before + found * _PASSES


class _Shape:
    """What ran on clips of one shape."""

    def __init__(self):
        self._known = {}  # sub-network: key of those that have the same channels, frames and size
        self._first, self._clips, self._macs = {}, Counter(), {}  # by key
        self._rest = 0.0  # clips, each times _measure(), of networks that are not counted

    def add(self, model, subnet, clips):
        key = self._known.get(subnet)
        if key is None and len(self._known) < 5 * _COUNTED:
            key = _channels(model, subnet.width), subnet.frames, subnet.size
            if key in self._first or len(self._first) < _COUNTED:
                self._known[subnet] = key
                self._first.setdefault(key, subnet)
        if key in self._first:
            self._clips[key] += clips
        else:
            self._rest += clips * _measure(subnet)

    def macs(self, model, costs):
        new = {key: subnet for key, subnet in self._first.items() if key not in self._macs}
        found = costs(model, list(new.values())) if new else {}
        self._macs |= {key: found[subnet].macs for key, subnet in new.items()}
        counted = sum(self._macs[key] * clips for key, clips in self._clips.items())
        if not self._rest:
            return counted
        # Each once: the full and the narrowest network run more often than any that is estimated.
        measured = sum(map(_measure, self._first.values()))
        return counted + round(sum(self._macs.values()) / measured * self._rest)


def _measure(subnet):
    """What a convolutional network's multiply-adds are about in proportion to."""
    return subnet.width**2 * (subnet.frames or 1) * subnet.size**2


def _channels(model, width):
    """Widths are drawn from a range, but many of them round to the same channels."""
    divisor = slim_state(model).divisor
    return tuple(
        layer.out_rule.active(layer.weight.shape[0], width, divisor)
        for _, layer in slim_layers(model)
        if layer.weight is not None
    )
