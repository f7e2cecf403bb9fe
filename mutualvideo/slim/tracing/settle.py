"""Traces a network, makes a plan, proves it, and pins what does not hold, until all of it does."""

import random
import warnings
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from mutualvideo.errors import InputError
from mutualvideo.slim.meta_results import Remembering
from mutualvideo.slim.tracing.channel_blocks import make_plan
from mutualvideo.slim.tracing.labels import Labels
from mutualvideo.slim.tracing.other_inputs import doubled, halved, other_values
from mutualvideo.slim.tracing.outputs import described
from mutualvideo.slim.tracing.proof import Conflict, prove
from mutualvideo.slim.tracing.same_way import is_same_way, require_same_way
from mutualvideo.slim.tracing.telling_widths import changes, partings
from mutualvideo.slim.tracing.trace import Trace, fresh, trace
from mutualvideo.slim.twin_base import slim_layers
from mutualvideo.slim.unsupported import TRANSFORMERS, is_within, refusal

# Widths that are proved beside the narrowest, a middle and the widest, as shares of the range,
# where the network takes its channels apart: how it rounds shows at some widths alone.
_MORE = (0.15, 0.35, 0.65, 0.85)


@dataclass
class Pass:
    """One way to run the network: its arguments, mode, and what the full pass showed."""

    args: tuple
    training: bool
    found: Trace


def settle(model, trials, convert, parameters, tell, rules, may_attend):
    """(passes, plan, arguments) of a network that is tried on ``trials``.

    Args:
        model: the network.
        trials: as :func:`mutualvideo.slim.tracing.trials.trials` gives them.
        convert: makes a copy of the network slimmable.
        parameters: ``{name: (module, own name, dimension)}`` of a network's parameters of one
            number a channel.
        tell: tells a network's layers a plan.
        rules: ``{layer: rule}`` that the caller gave.
        may_attend: patterns of modules that may run attention, since they stay whole.

    Raises:
        InputError: if no trial runs, or something cannot be part of a slimmable network.

    Warns:
        UserWarning: if no trial runs in training mode.
    """
    first, first_error = None, None
    for make_copy, args in trials:
        session = _Session(make_copy(model).eval(), args, convert, parameters, tell)
        try:
            session.trace(args, False, may_attend)
        except InputError:
            raise
        except Exception as error:
            first_error = first_error or (model, args, error)
            continue
        slimmed = make_copy(model).eval()
        state = convert(slimmed)
        state.shapes_only, state.width = True, 1.0  # whole, as in trace()
        with _same_chances():
            require_same_way(make_copy(model).eval(), slimmed, args)
        session.more_passes(may_attend)
        if session.untrained is None:
            first = session
            break
        # A forward may look at values in training alone: others of the trials have some.
        first = first or session
        if not first.on_meta:
            break
    if first is None:
        raise _does_not_run(*first_error)
    if first.untrained is not None:
        reason = str(first.untrained).strip().split("\n")[0]
        warnings.warn(
            f"slimmable(): in training mode {type(model).__name__} does not run on the example "
            f"({reason}): what it does there alone is not followed, and its layers stay whole; "
            "give example= with values, on the CPU, that it trains on",
            stacklevel=3,
        )
    return first.passes, first.settle(rules), first.passes[0].args


def _does_not_run(model, args, error):
    shapes = [tuple(t.shape) for t in tree_leaves(args) if isinstance(t, torch.Tensor)]
    reason = str(error).strip().split("\n")[0]
    refused = InputError(
        f"slimmable(): {type(model).__name__} does not run on input of shape "
        f"{', '.join(map(str, shapes))} ({reason}): give example=, a tensor or a tuple of what its "
        "forward takes"
    )
    refused.__cause__ = error
    return refused


class _Session:
    def __init__(self, twin, args, convert, parameters, tell):
        self.twin, self.state, self.tell = twin, convert(twin), tell
        self.state.shapes_only = True
        self.parameters, self.labels, self.passes = parameters(twin), Labels(), []
        self.moved, self.untrained = set(), None
        self.on_meta = all(t.is_meta for t in tree_leaves(args) if isinstance(t, torch.Tensor))

    def _observe(self, flow):
        self.state.observer = flow

    def trace(self, args, training, may_attend):
        self.state.width = 1.0  # whole, even where the widest width allowed is less
        self.twin.train(training)
        with _same_start(self.twin) as written, _same_chances(), _NoAttention(self, may_attend):
            found = trace(self.twin, args, self.labels, self.parameters, self._observe)
        self.moved |= written if training else set()
        self.passes.append(Pass(args, training, found))

    def more_passes(self, may_attend):
        """In training mode, and on other values or another batch.

        Sets ``untrained``, why it does not run in training mode.
        """
        args = self.passes[0].args
        for other, training in ((other_values(args), False), (args, True), (doubled(args), True)):
            if training and self.passes[-1].training:
                continue  # the doubled batch is for BatchNorms that need more than one value
            if not training and self.on_meta:
                continue
            try:
                self.trace(other, training, may_attend)
            except InputError:
                raise
            except Exception as error:
                if training:
                    self.untrained = error
                continue
            if training:
                self.untrained = None
        self._other_way(may_attend)
        self.reads = {}
        for one in self.passes:
            for name, vector in one.found.reads.items():
                known = self.reads.setdefault(name, vector)
                if known is not vector:
                    self.labels.unite(known, vector, f"{name} reads it and channels that are whole")
                    self.reads[name] = np.where(known > vector, known, vector)
            for name, where in one.found.lent.items():
                why = f"{where} reads the parameters of {name}"
                if name in self.labels.sources:
                    self.labels.pin(self.labels.of(name, 0), why)
                if name in one.found.reads:
                    self.labels.pin(one.found.reads[name], why)
        for one in self.passes:
            one.found.reads = {name: self.reads[name] for name in one.found.reads}

    def _other_way(self, may_attend):
        """A pass on half the frames and size, if the forward goes another way there."""
        smaller = halved(self.passes[0].args)
        if smaller is None:
            return
        try:
            self.trace(smaller, False, may_attend)
        except InputError:
            raise
        except Exception:
            return  # it takes inputs of one size alone
        if is_same_way(self.passes[0].found.events, self.passes[-1].found.events):
            self.passes.pop()

    def settle(self, rules):
        (low, high), divisor = self.state.width_range, self.state.divisor
        shares = [0, 0.5, 1, *(_MORE if self.labels.starts else ())]
        some = [low + (high - low) * share for share in shares]
        while True:
            plan = make_plan(self.labels, self.reads, rules, low, divisor)
            plan.moved = self.moved
            self.tell(self.twin, plan)
            try:
                for width in self._widths(plan, some):
                    self._prove(width, plan, width == low)
            except Conflict as conflict:
                self._pin(conflict, width)
                continue
            self.state.select(high)
            events = self._events()
            plan.locked, plan.moving = _locked(plan, events), {e[0] for e in events if e[2]}
            plan.lent = {name for one in self.passes for name in one.found.lent}
            plan.channel_dims = {
                name: layer.channel_dim
                for name, layer in slim_layers(self.twin)
                if getattr(layer, "channel_dim", None) is not None
            }
            return plan

    def _widths(self, plan, some):
        """Yields the widths to prove ``plan`` at: ``some``, and where counts tell something new."""
        about = self.state.width_range, self.state.divisor
        proved = list(dict.fromkeys([*some, *changes(plan.loose, *about)]))
        yield from proved
        yield from partings(plan, self._events(), *about, proved)

    def _prove(self, width, plan, narrowest):
        for one in self.passes:
            if one.training and not narrowest:
                continue
            self.state.select(width)
            self.twin.train(one.training)
            values = not self.on_meta
            with _same_start(self.twin), _same_chances():
                prove(self.twin, one.args, one.found, plan, self.parameters, self._observe, values)
        if narrowest and self.on_meta:
            self._prove_another_batch(width)

    @torch.no_grad()
    def _prove_another_batch(self, width):
        """The output is the same at two widths but for values, for a batch of twice the size."""
        self.twin.eval()
        args = doubled(self.passes[0].args)
        try:
            self.state.width = 1.0
            shapes, numbers = self._output(args)
            _, again = self._output(args) if numbers else (None, {})
        except Exception:
            return  # it takes batches of one size alone
        finally:
            self.state.select(width)
        try:
            narrow_shapes, narrow_numbers = self._output(args)
        except Exception as error:
            raise Conflict([], "the output of a larger batch", "", None, str(error)) from error
        if shapes != narrow_shapes:
            raise Conflict([], "the output of a larger batch", "", None, "its shape changes")
        for path, number in numbers.items():
            if again.get(path) == number != narrow_numbers.get(path):  # no count of calls
                detail = f"a number in it{' at ' + path if path else ''} changes"
                raise Conflict([], "the output", "", None, detail)

    def _output(self, args):
        """Shapes of the tensors that come out, and the numbers, by path."""
        numbers = {}
        with Remembering():
            tensors = described(self.twin(*fresh(args)), numbers)
        return [(path, tuple(tensor.shape)) for path, tensor in tensors], numbers

    def _pin(self, conflict, width):
        """Pins the channels that a conflict is about; the last resort is all of the network's."""
        where = conflict.module or "the network's own forward"
        where += f" ({conflict.line})" if conflict.line else ""
        detail = f": {conflict.detail}" if conflict.detail else ""
        why = (
            f"{conflict.operation} does something else at width {width:g} than at full width, in "
            f"{where}{detail}"
        )
        labels = [conflict.labels.astype(np.int64)]
        if conflict.line is not None:  # the same line of code does the same elsewhere
            labels.append(
                self._labels_of(
                    lambda event: event[0] == conflict.operation and event[2] == conflict.line
                )
            )
        pinned = [self.labels.pin(some, why) for some in labels]
        if any(pinned):
            return
        inside = conflict.module
        if inside and self.labels.pin(self._labels_of(lambda e: e[1].startswith(inside)), why):
            return
        if self.labels.pin(self._labels_of(lambda event: True), why):
            return
        everything = np.arange(2, len(self.labels))
        if self.labels.pin(everything, why):
            return
        kind = type(self.twin.get_submodule(inside)).__name__ if inside else "the network"
        raise refusal(inside, kind, why, inside)

    def _events(self):
        """Those of all passes at full width."""
        return [event for one in self.passes for event in one.found.events]

    def _labels_of(self, matches):
        found = [
            shadow.reshape(-1).numpy()
            for event in self._events()
            if matches(event)
            for _, shadow in event[3]
            if shadow is not None
        ]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)


@contextmanager
def _same_start(model):
    """Buffers that a pass replaces come back; yields a set: of modules that wrote to theirs."""
    written = set()
    before = [
        (name, module, own, tensor, _version(tensor))
        for name, module in model.named_modules()
        if not isinstance(module, torch.jit.ScriptModule)  # its buffers are not to be exchanged
        for own, tensor in module._buffers.items()
        if tensor is not None
    ]
    try:
        yield written
    finally:
        for name, module, own, tensor, version in before:
            if module._buffers.get(own) is not tensor or _version(tensor) != version:
                written.add(name)
            module._buffers[own] = tensor


def _version(tensor):
    """Rises when it is written to; tensors of inference do not tell."""
    return None if tensor.is_inference() else tensor._version


def _locked(plan, events):
    """bool (blocks,): whose channels an operation takes some of, or some more often than others."""
    locked = np.zeros(len(plan.blocks), bool)
    seen = set()
    for event in events:
        for _, shadow in event[3]:
            if shadow is None or id(shadow) in seen:
                continue
            seen.add(id(shadow))
            labels = plan.labels.canonical(shadow.reshape(-1).numpy())
            count = np.bincount(labels, minlength=len(plan.number))
            for block in np.unique(plan.number[labels]):
                channels = plan.blocks[block][0]
                if block >= 0 and (count[channels] != count[channels[0]]).any():
                    locked[block] = True
    return locked


class _same_chances:
    """Passes draw the same random numbers, and leave the generators as they were."""

    def __enter__(self):
        self.before = random.getstate(), np.random.get_state(), torch.get_rng_state()
        random.seed(0), np.random.seed(0), torch.default_generator.manual_seed(0)

    def __exit__(self, *_):
        random.setstate(self.before[0])
        np.random.set_state(self.before[1])
        torch.set_rng_state(self.before[2])


class _NoAttention(TorchFunctionMode):
    """Refuses attention, which is a transformer's, unless its module stays whole."""

    def __init__(self, session, may_attend):
        super().__init__()
        self.session, self.may_attend = session, may_attend

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (F.scaled_dot_product_attention, F.multi_head_attention_forward):
            flow = self.session.state.observer
            name = flow.module if flow is not None else ""
            if not is_within(name, self.may_attend):
                kind = type(self.session.twin.get_submodule(name)).__name__
                raise refusal(
                    name, kind, f"scaled_dot_product_attention: {TRANSFORMERS}", _block(name)
                )
        return func(*args, **(kwargs or {}))


def _block(name):
    """A pattern for ``name`` and its like in the other blocks: numbers become ``*``."""
    return ".".join("*" if part.isdigit() else part for part in name.split(".")) or "*"
