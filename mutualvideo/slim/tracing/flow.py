"""Follows the channels through every operation of a forward pass.

The pass runs under :class:`ChannelFlow`. Layers that make channels set the labels of their
output (see ``trace``); whatever happens between layers is passed on here, operation by
operation, so no source code is read and none has to be traceable.
"""

import sys
import weakref
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from mutualvideo.slim.meta_results import run_once
from mutualvideo.slim.tracing.rules.call import Call, Unfollowed
from mutualvideo.slim.tracing.rules.operations import rule_of
from mutualvideo.slim.tracing.shadow import flat, is_free, is_labelled

_OURS, _TORCH = str(Path(__file__).parents[1]), str(Path(torch.__file__).parent)


def user_line():
    """``file.py:12`` of the network's own code that is running, or ``None`` if torch's is alone."""
    frame, inside = sys._getframe(1), True
    while frame is not None:
        name = frame.f_code.co_filename
        ours = name.startswith(_OURS)
        if ours and not inside:
            return None
        if not ours and not name.startswith((_TORCH, "<")):
            return f"{Path(name).name}:{frame.f_lineno}"
        inside = inside and ours
        frame = frame.f_back
    return None


class ChannelFlow(TorchDispatchMode):
    """The labels of every tensor of one pass.

    Args:
        book: what is told which labels meet: :class:`~.labels.Labels`, or a proof.
        stack: paths of the modules that are running, innermost last.
        narrow: whether this is a pass at a width below the full one.

    Attributes:
        quiet: above 0 while a layer runs that sets its own output's labels.
        owners: ``{id: layer}`` of the parameters of slimmable layers.
        lent: ``{layer: where}`` of those whose parameters something else reads.
        singles: labels of the single channels that the running operation took.
        events: list of (operation, module, line, shapes and shadows of the results, ``singles``).
    """

    def __init__(self, book, stack=(), narrow=False):
        super().__init__()
        self.book, self.stack, self.narrow = book, stack, narrow
        self.shadows = WeakTensorKeyDictionary()
        self._indices = WeakTensorKeyDictionary()
        self._on_storage = {}
        self.quiet = 0
        self.singles = []
        self.events = []
        self.on_event = None
        self.owners, self.lent = {}, {}
        self.operation = None

    @property
    def module(self):
        return (self.stack and self.stack[-1]) or ""

    @property
    def where(self):
        """The module and line that are running, for messages."""
        line = user_line()
        return (self.module or "the network's own forward") + (f" ({line})" if line else "")

    def get(self, tensor):
        """The shadow of ``tensor``; ``None`` where all of it is whole."""
        if tensor in self._indices:
            self.pin(self._indices[tensor], "positions among its channels are used as numbers")
        return self.shadows.get(tensor)

    def set(self, tensor, shadow):
        """Sets the shadow of a tensor that was just made."""
        if shadow is None:
            self.shadows.pop(tensor, None)
            return
        self.shadows[tensor] = shadow
        self._on_storage.setdefault(_storage(tensor), []).append(weakref.ref(tensor))

    def positions(self, tensor, labels):
        """``tensor`` holds positions among the channels ``labels``: whoever reads it pins them."""
        self._indices[tensor] = labels

    def pin(self, shadow, why):
        if shadow is not None:
            self.book.pin(flat(shadow), why)

    def forget_storage(self, tensor, why):
        """Everything that shares memory with ``tensor`` is whole from now on."""
        for other in self._on_storage.pop(_storage(tensor), []):
            if other() is not None:
                self.pin(self.shadows.pop(other(), None), why)

    def alone_on_storage(self, tensor):
        """Whether ``tensor`` is all of its memory, and nothing that is followed shares it."""
        others = [other() for other in self._on_storage.get(_storage(tensor), [])]
        if any(o is not None and o is not tensor and o in self.shadows for o in others):
            return False
        return tensor.numel() * tensor.element_size() >= tensor.untyped_storage().nbytes()

    @contextmanager
    def silence(self):
        """What runs inside is not followed."""
        self.quiet += 1
        try:
            yield
        finally:
            self.quiet -= 1

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.quiet:
            return run_once(func, args, kwargs)
        self.operation = func.overloadpacket.__name__, args, kwargs
        call = Call(self, func, args, kwargs)
        out = run_once(func, args, kwargs)
        call.results = [t for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        if call.results:
            self._pass_on(call)
        self.operation = None
        return out

    def _pass_on(self, call):
        for tensor in call.tensors:
            if id(tensor) in self.owners and self.owners[id(tensor)] not in self.lent:
                self.lent[self.owners[id(tensor)]] = self.where
        rule, self.singles = rule_of(call), []
        try:
            shadows = rule(call) if rule is not None else []
        except Unfollowed as lost:
            why = self.why(call, str(lost))
            for shadow in call.shadows:
                self.pin(shadow, why)
            shadows = []
        written = call.written
        if written is not None and not call.moves:
            self._write(call, written, shadows[0] if shadows else None)
        else:
            for tensor, shadow in zip(call.results, shadows, strict=False):
                self.set(tensor, shadow)
        line = user_line() if call.moves and any(is_labelled(s) for s in call.shadows) else None
        found = [(tuple(t.shape), self.shadows.get(t)) for t in call.results]
        event = call.name, self.module, line, found, self.singles
        if self.on_event is not None:
            self.on_event(event, call)
        self.events.append(event)

    def why(self, call, text):
        """A reason that is written out when it is needed: finding the line takes time."""
        return partial(self._why, call.name, text)

    def _why(self, name, lost):
        if lost.startswith("has parameters"):
            return f"{self.where} {lost} ({name})"
        return f"{name} {lost}, in {self.where}"

    def _write(self, call, tensor, shadow):
        """An operation in place left ``shadow`` in ``tensor``."""
        before = self.shadows.get(tensor)
        if call.keeps_written or _same(self.book, before, shadow):
            return
        if is_labelled(shadow) and before is not None and before.shape == shadow.shape:
            if not is_free(before):
                # Labels that met were united, so what it was and what it is are one.
                ours, theirs = (self.book.canonical(flat(s)) for s in (before, shadow))
                if (ours == theirs).all():
                    return
        if self.alone_on_storage(tensor):
            self.set(tensor, shadow)
            return
        why = self.why(call, "writes into a part of other channels")
        self.pin(shadow, why)
        self.forget_storage(tensor, why)


def _storage(tensor):
    return tensor.untyped_storage()._cdata


def _same(book, before, shadow):
    if before is None or shadow is None:
        return before is None and shadow is None
    return before.shape == shadow.shape and torch.equal(before, shadow)
