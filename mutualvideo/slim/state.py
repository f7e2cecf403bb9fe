"""The one small object that every slimmable layer of a network reads."""

import threading

import torch

from mutualvideo.errors import InputError, shown


class Calibration:
    """How much each batch counts in the statistics that are being collected.

    Attributes:
        weight: of the batch at hand.
    """

    def __init__(self):
        self.weight, self._totals = 0, {}

    def share_of_use(self, norm):
        """The share of this use in what ``norm`` has seen as the current sub-network, with it."""
        key = norm, norm.slim.subnet
        self._totals[key] = self._totals.get(key, 0) + self.weight
        return self.weight / self._totals[key]


class SlimState:
    """What a slimmable network is executing as, shared by all of its layers.

    Switching a sub-network writes here and touches no layer, so it costs the same for
    every network.

    Attributes:
        width: current width multiplier.
        subnet: current :class:`~mutualvideo.Subnet`, or ``None`` when only a width was set.
        full: the sub-network that *is* the full network, or ``None`` if not known.
        width_range: narrowest and widest width allowed, both included.
        divisor: active channels are a multiple of this.
        is_full: whether this is the full network: it alone updates the running statistics. Worked
            out when switching, so that a compiled layer asks for nothing but this.
        serial: counts the switches, so that a layer knows when what it prepared is out of date.
        plan: :class:`~mutualvideo.slim.tracing.channel_blocks.Plan` that the layers were told.
        observer: while slimmable() watches a pass, the flow that it watches with; else ``None``.
        shapes_only: slimmable() is looking at shapes: layers need not compute.
        running: ``{thread: serial}`` of the forward passes that are running, so that a switch
            in the midst of one is noticed.
        calibration: while calibrating, the :class:`Calibration`; else ``None``.
        over_processes: BatchNorm takes the batches of all processes together, in training and
            while calibrating; all of them must run the same passes.
        norm_parts: in how many parts BatchNorm normalises a batch of training, each by itself.
        recomputing: a part of a forward pass runs once more, for the backward pass: statistics
            that it moved stay where they are.
    """

    def __init__(self, width_range, divisor):
        try:
            low, high = (float(width) for width in width_range)
        except (TypeError, ValueError):
            raise InputError(
                f"width range {shown(width_range)}: expected (narrowest, widest), such as (0.25, 1)"
            ) from None
        if not 0 < low <= high <= 1:
            raise InputError(
                f"width range [{low:g}, {high:g}]: expected 0 < narrowest <= widest <= 1"
            )
        if int(divisor) < 1:
            raise InputError(f"divisor {divisor}: channels are rounded to a multiple of at least 1")
        self.width_range = (low, high)
        self.divisor = int(divisor)
        self.width = high
        self.subnet = None
        self.serial = 0
        self.full = None
        self.plan = None
        self.calibration = None
        self.over_processes = False
        self.norm_parts = 1
        self.recomputing = False
        self.observer = None
        self.shapes_only = False
        self.running = {}
        self.is_full = True

    def select(self, width, subnet=None):
        low, high = self.width_range
        # float() reads text too, and means another thing by it than people do.
        if isinstance(width, (str, bytes, bool)) or not hasattr(width, "__float__"):
            raise InputError(f"width {shown(width)}: expected a number from {low:g} to {high:g}")
        # Four digits, as in Subnet, so that a width and the sub-network's width are one value.
        width = round(float(width), 4)
        if not round(low, 4) <= width <= round(high, 4):
            raise InputError(
                f"width {width:g} is outside [{low:g}, {high:g}], the range this network was "
                "made slimmable for: choose one inside, or give slimmable() another width_range"
            )
        self.width = high if width == round(high, 4) else width
        self.subnet = subnet
        self.is_full = self.width == high and (subnet is None or subnet == self.full)
        self.serial += 1

    def switched_since(self, serial):
        """The error of a pass that began after switch number ``serial``; ``None``: it holds."""
        if serial == self.serial:
            return None
        return InputError(
            "the network was switched to another sub-network during a forward pass, so that its "
            "answer is neither's: give every thread a network of its own (extract() makes them), "
            "or switch and run under one lock"
        )

    def switched_midway(self):
        """As :meth:`switched_since`, of the pass that this thread runs, if it runs one."""
        return self.switched_since(self.running.get(threading.get_ident(), self.serial))


def begin_forward(model, inputs):
    """Forward pre-hook of a slimmable network: notes which switch it begins after."""
    if not torch.compiler.is_compiling():
        state = model.slim_state
        state.running[threading.get_ident()] = state.serial


def end_forward(model, inputs, out):
    """Forward hook of a slimmable network.

    Raises:
        InputError: if the network was switched in the midst of the pass.
    """
    if torch.compiler.is_compiling():
        return
    state = model.slim_state
    error = state.switched_since(state.running.pop(threading.get_ident(), state.serial))
    if error is not None:
        raise error
