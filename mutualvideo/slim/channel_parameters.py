"""Parameters and buffers of one number a channel, of modules that are no layers of torch's.

FrozenBatchNorm, LayerScale, PReLU and modules of the user's own read them as attributes. Such a
module's class is exchanged for one that gives, in place of each, the part of it that belongs to
the active channels. They keep their names and values. What a module writes to its buffers in
training, as a norm does to its running statistics, lasts if it is the full network that trains.
"""

import threading
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn
from torch.fx import GraphModule

from mutualvideo.slim.rules import Fixed, Segments
from mutualvideo.slim.tracing.shadow import along
from mutualvideo.slim.twin_base import Twin


def channel_parameters(model, chosen):
    """``{path: (module, own name, dimension)}`` of every one in the modules ``chosen``."""
    found = {}
    for name in chosen:
        module = model.get_submodule(name)
        if not may_lend(module):
            continue
        own = {**module._parameters, **module._buffers}
        for leaf, tensor in own.items():
            if tensor is None or not tensor.is_floating_point() or tensor.numel() < 2:
                continue
            if max(tensor.shape) == tensor.numel():
                dim = tensor.shape.index(tensor.numel())
                found[f"{name}.{leaf}" if name else leaf] = (module, leaf, dim)
    return found


def may_lend(module):
    """Whether the class of ``module`` can be exchanged for one that lends, and is not a twin's."""
    return not isinstance(module, (GraphModule, torch.jit.ScriptModule, Twin))


@dataclass(frozen=True)
class Loan:
    """What a module gives of one of its parameters: along ``dim``, the entries of ``segments``.

    ``source`` is what tracing calls it.
    """

    segments: Segments
    dim: int
    source: str

    @property
    def is_whole(self):
        return all(part.rule == Fixed() for part in self.segments.parts)

    def take(self, tensor, state):
        whole = self.is_whole or tensor.dim() <= self.dim
        if whole or tensor.shape[self.dim] != self.segments.entries:
            return tensor  # nothing to cut, or the module has put something else there
        count = self.segments.active(state.width, state.divisor)
        if count == tensor.shape[self.dim]:
            return tensor
        if len(self.segments.parts) == 1:
            return tensor.narrow(self.dim, 0, count)
        return tensor.index_select(self.dim, self._index(state, tensor.device))

    @torch.no_grad()
    def put(self, part, tensor, state):
        """Writes ``part``, of the active channels, into ``tensor``, which has all of them."""
        tensor.index_copy_(self.dim, self._index(state, tensor.device), part.to(tensor.dtype))

    def _index(self, state, device):
        return self.segments.index(state.width, state.divisor, device)


class Lender:
    """Mixed in before a module's class.

    While it runs in training, ``borrowed`` holds copies of buffers that it reads, and what it
    assigns to them. They end with the pass, unless it is the full network's: then those that hold
    the active channels alone are put back where they belong.
    """

    def forward(self, *args, **kwargs):
        if not (self.training and self._buffers):
            return self.static.forward(self, *args, **kwargs)
        self.__dict__["borrowed"] = {}
        try:
            out = self.static.forward(self, *args, **kwargs)
            for name, part in self.borrowed.items() if self._moves else ():
                self.loans[name].put(part, self._buffers[name], self.slim)
        finally:
            del self.__dict__["borrowed"]
        return out

    def __getattr__(self, name):
        if name in self.__dict__.get("borrowed", ()):
            return self.borrowed[name]
        value = super().__getattr__(name)
        if not isinstance(value, torch.Tensor):
            return value
        loan, observer = self.loans.get(name), self.slim.observer
        if observer is None:
            return self._lent(name, value)
        with observer.silence():
            value = self._lent(name, value)
            if loan is not None:
                labels = observer.book.makes(loan.source, loan.segments.entries)
                observer.set(value, along(labels, loan.dim, value.dim()))
        return value

    def __setattr__(self, name, value):
        whole = self._buffers.get(name)
        if whole is None or not self._runs or self._moves and self._cut(name, whole) is whole:
            super().__setattr__(name, value)
        elif "borrowed" in self.__dict__:
            self.borrowed[name] = value
        elif self._moves:  # by a hook, or by a method that another module calls
            self.loans[name].put(value, whole, self.slim)

    @property
    def _runs(self):
        """Whether a pass of training is under way."""
        in_pass = "borrowed" in self.__dict__ or self.slim.observer is not None
        return self.training and (in_pass or threading.get_ident() in self.slim.running)

    @property
    def _moves(self):
        """Whether what is written to buffers lasts."""
        return self.slim.is_full and not self.slim.recomputing

    def _cut(self, name, value):
        loan = self.loans.get(name)
        return value if loan is None else loan.take(value, self.slim)

    def _lent(self, name, value):
        part = self._cut(name, value)
        if name not in self._buffers or not self.training or (self._moves and part is value):
            return part
        part = part.clone()
        if "borrowed" in self.__dict__:
            self.borrowed[name] = part
        return part

    def active_parameters(self):
        """How many numbers of its own parameters are in use."""
        own = [name for name, tensor in self._parameters.items() if tensor is not None]
        return sum(getattr(self, name).numel() for name in own)

    def __reduce_ex__(self, protocol):
        # Pickle looks for classes by name, and this one is made.
        _, _, *state = super().__reduce_ex__(protocol)
        return _blank_lender, (self.static,), *state

    def to_static(self):
        taken = {name: getattr(self, name).detach().clone() for name in self.loans}
        kept = {n: self._parameters[n].requires_grad for n in taken if n in self._parameters}
        self.__class__ = self.static
        for name in ("slim", "loans"):
            del self.__dict__[name]
        for name, tensor in taken.items():
            setattr(self, name, nn.Parameter(tensor, kept[name]) if name in kept else tensor)


@cache
def _lending(own):
    return type(f"Slim{own.__name__}", (Lender, own), {"static": own})


def _blank_lender(own):
    """One without attributes, for pickle to fill."""
    kind = _lending(own)
    return kind.__new__(kind)


def lend(module, loans, state):
    """Makes ``module`` give ``loans``, ``{own name: Loan}``."""
    if not isinstance(module, Lender):
        module.__class__ = _lending(type(module))
    module.__dict__["slim"], module.__dict__["loans"] = state, loans


def lenders(model):
    """Every module of ``model`` that lends."""
    return [module for module in model.modules() if isinstance(module, Lender)]
