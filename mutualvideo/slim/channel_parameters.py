"""Parameters and buffers of one number a channel, of modules that are no layers of torch's.

FrozenBatchNorm, LayerScale, PReLU and modules of the user's own read them as attributes. Such a
module's class is exchanged for one that gives, in place of each, the part of it that belongs to
the active channels. They keep their names and values. What a module writes to its buffers in
training, as a norm does to its running statistics, lasts if it is the full network that trains.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn
from torch.fx import GraphModule

from mutualvideo.slim.rules import Segments
from mutualvideo.slim.tracing.shadow import along
from mutualvideo.slim.twin_base import Twin


def channel_parameters(model, chosen):
    """``{path: (module, own name, dimension)}`` of every one in the modules ``chosen``."""
    found = {}
    for name in chosen:
        module = model.get_submodule(name)
        if isinstance(module, (GraphModule, torch.jit.ScriptModule, Twin)):
            continue
        own = {**module._parameters, **module._buffers}
        for leaf, tensor in own.items():
            if tensor is None or not tensor.is_floating_point() or tensor.numel() < 2:
                continue
            if max(tensor.shape) == tensor.numel():
                dim = tensor.shape.index(tensor.numel())
                found[f"{name}.{leaf}" if name else leaf] = (module, leaf, dim)
    return found


@dataclass(frozen=True)
class Loan:
    """What a module gives of one of its parameters: along ``dim``, the entries of ``segments``.

    ``source`` is what tracing calls it.
    """

    segments: Segments
    dim: int
    source: str

    def take(self, tensor, state):
        count = self.segments.active(state.width, state.divisor)
        if count == tensor.shape[self.dim]:
            return tensor
        if len(self.segments.parts) == 1:
            return tensor.narrow(self.dim, 0, count)
        index = self.segments.index(state.width, state.divisor, tensor.device)
        return tensor.index_select(self.dim, index)


class Lender:
    """Mixed in before a module's class."""

    def __getattr__(self, name):
        value = super().__getattr__(name)
        loan = self.__dict__.get("loans", {}).get(name)
        if loan is None or value is None:
            return value
        observer = self.slim.observer
        if observer is None:
            return self._taken(name, value, loan)
        with observer.silence():
            value = self._taken(name, value, loan)
            labels = observer.book.makes(loan.source, loan.segments.entries)
            observer.set(value, along(labels, loan.dim, value.dim()))
        return value

    def __setattr__(self, name, value):
        lent = name in self.__dict__.get("loans", {}) and name in self._buffers
        if not (lent and self.training and not self.slim.is_full):
            super().__setattr__(name, value)

    def _taken(self, name, value, loan):
        part = loan.take(value, self.slim)
        written = name in self._buffers and self.training and not self.slim.is_full
        return part.clone() if written else part

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
