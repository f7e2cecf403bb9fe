"""The proof: at another width, every operation does to the active channels what the full one does.

A pass at that width runs under the same flow of labels, and is compared with the full one
operation by operation: each tensor must hold the full one's channels with the inactive ones left
out, in the same order and the same place, and have its other dimensions' sizes. Then the
sub-network is the one that a cut through all layers gives, whatever the network is.
"""

import numpy as np
import torch

from mutualvideo.slim.tracing.flow import ChannelFlow
from mutualvideo.slim.tracing.labels import FREE
from mutualvideo.slim.tracing.shadow import along, flat, is_free, is_labelled, varying
from mutualvideo.slim.tracing.trace import run_followed, running_module


class Conflict(Exception):
    """A sub-network is not the full network with channels left out.

    Attributes:
        labels: the channels that have to do with it; without them being cut there is none.
        operation, module, line: where it shows.
    """

    def __init__(self, labels, operation, module, line=None, detail=""):
        super().__init__(operation)
        self.labels = np.asarray(labels)
        self.operation, self.module, self.line, self.detail = operation, module, line, detail


@torch.no_grad()
def prove(model, args, found, plan, parameters, observe, follows_values=False):
    """One pass at the width that ``model`` is switched to, held against the full one.

    Args:
        model: the slimmable network, told of ``plan``.
        args: what the full pass ran on.
        found: :class:`~.trace.Trace` of the full pass.
        plan: :class:`~.blocks.Plan`.
        parameters: as :func:`~.trace.trace` takes them.
        observe: as :func:`~.trace.trace` takes it.
        follows_values: the forward may look at values, which are others at another width: from
            where the operations are others, only what layers read is compared.

    Raises:
        Conflict: at the first difference.
    """
    state = model.slim_state
    proof = _Proof(plan, found, plan.active(state.width, state.divisor), follows_values)
    with running_module(model) as stack:
        flow = ChannelFlow(proof, stack, narrow=True)
        proof.flow = flow
        flow.on_event = proof.compare
        for name, (module, own, dim) in parameters.items():
            tensor = module._parameters.get(own, module._buffers.get(own))
            flow.set(tensor, along(plan.labels.of(name, tensor.shape[dim]), dim, tensor.dim()))
        try:
            out = run_followed(model, args, flow, proof, observe)
        except Conflict:
            raise
        except Exception as error:
            raise proof.failed(error) from error
    proof.output(out)


class _Proof:
    """Answers as :class:`~.labels.Labels` does, and raises where something is new."""

    def __init__(self, plan, found, active, follows_values):
        self.labels, self.plan, self.found, self.active = plan.labels, plan, found, active
        self.follows_values = follows_values
        self.at, self.comparing, self.flow = 0, True, None
        self._pinned = plan.labels.is_pinned(np.arange(len(plan.labels)))

    # What the flow asks.

    def canonical(self, labels):
        return self.labels.canonical(labels)

    def unite(self, ours, theirs, why):
        a, b = self.canonical(ours), self.canonical(theirs)
        odd = (a != b) & (a != FREE) & (b != FREE)
        odd &= ~((np.minimum(a, b) == 0) & self._pinned[np.maximum(a, b)])
        if odd.any():
            raise self._conflict(np.concatenate([a[odd], b[odd]]))

    def pin(self, labels, why):
        free = labels[~self._pinned[labels]]
        if len(free):
            raise self._conflict(free)

    def cut(self, labels, pieces):
        pass

    def expected_dims(self):
        """The dimensions that the labels of the full pass's result change along."""
        if not self.comparing or self.at >= len(self.found.events):
            return set()
        shadow = self.found.events[self.at][3][0][1]
        return set() if shadow is None else varying(shadow)

    # What the layers' hooks ask.

    def makes(self, name, channels):
        if name not in self.labels.sources:
            raise self._conflict([], f"{name} runs, which did not run at full width")
        own = self.labels.of(name, channels)
        return own[self.active[own]]

    def reads(self, name, layer, vector, flow):
        if name not in self.found.reads:
            raise self._conflict([], f"{name} runs, which did not run at full width")
        full = self.found.reads[name]
        if not self._is_cut(full, vector):
            raise Conflict(
                np.concatenate([full, vector]), "what arrives", name, None, "other channels arrive"
            )

    def _is_cut(self, full, narrow):
        wanted = full[self.active[full]]
        if len(wanted) != len(narrow):
            return False
        a, b = self.canonical(wanted), self.canonical(narrow)
        whole = np.minimum(a, b) <= FREE
        return bool(((a == b) | (whole & self._pinned[np.maximum(a, b)])).all())

    def compare(self, event, call):
        if not self.comparing:
            return
        if self.at >= len(self.found.events):
            raise self._event_conflict(event, call, None)
        full = self.found.events[self.at]
        self.at += 1
        if full[:2] != event[:2] or len(full[3]) != len(event[3]):
            if self.follows_values:
                self.comparing = False
                return
            raise self._event_conflict(event, call, full)
        wanted, taken = (self.canonical(np.array(one[4], int)) for one in (full, event))
        # Where the full pass took from what is whole, what is there at every width is as good.
        if not np.array_equal(wanted, taken) and (len(wanted) or not self._pinned[taken].all()):
            raise self._event_conflict(event, call, full)
        for tensor, (shape, shadow), (ours, labels) in zip(
            call.results, full[3], event[3], strict=True
        ):
            if is_free(shadow) and (labels is None or is_free(labels)):
                continue
            same = len(shape) == len(ours)
            if is_labelled(shadow):
                dims = varying(shadow)
                same = same and labels is not None
                same = same and all(
                    a == b
                    for d, (a, b) in enumerate(zip(shape, ours, strict=True))
                    if d not in dims
                )
                same = same and self._is_cut(flat(shadow), self._all(labels, ours, dims))
            else:
                same = same and shape == ours and not (is_labelled(labels) and varying(labels))
                if is_labelled(labels):
                    self.flow.set(tensor, None)
            if not same and self.follows_values and not is_labelled(shadow):
                self.comparing = False  # as many entries as values say
                return
            if not same:
                raise self._event_conflict(event, call, full)

    def _all(self, labels, shape, dims):
        """The labels as the full pass has them: along the same dimensions."""
        size = [n if d in dims else 1 for d, n in enumerate(shape)]
        if any(n != 1 and n != s for n, s in zip(labels.shape, size, strict=True)):
            return np.zeros(0, np.int32)
        return flat(labels.expand(size))

    def output(self, out):
        """Compares structure and shapes of the output."""
        full = [(path, tuple(t.shape)) for path, t in self.found.output]
        ours = [(path, tuple(t.shape)) for path, t in out]
        if self.comparing and self.at != len(self.found.events):
            raise Conflict([], "the end of the forward pass", "", None)
        if full != ours and not self.follows_values:
            raise Conflict([], "the output", "", None, "its structure or shape changes")
        if [shape for _, shape in full] != [shape for _, shape in ours]:
            raise Conflict([], "the output", "", None, "its structure or shape changes")

    def failed(self, error):
        """The conflict that an exception of the network's own stands for."""
        detail = str(error).strip().split("\n")[0]
        if self.flow.operation is not None:
            name, args, kwargs = self.flow.operation
            conflict = self._conflict([], detail, name)
            tensors = [
                t
                for t in torch.utils._pytree.tree_leaves((args, kwargs))
                if isinstance(t, torch.Tensor)
            ]
            shadows = [self.flow.shadows.get(t) for t in tensors]
            conflict.labels = _joined(shadows)
            if self.comparing and self.at < len(self.found.events):
                full = self.found.events[self.at]
                if full[:2] == (name.rstrip("_") or name, self.flow.module):
                    conflict.line = full[2]
                    conflict.labels = np.concatenate(
                        [conflict.labels, _joined(s for _, s in full[3])]
                    )
            return conflict
        return self._conflict([], detail, type(error).__name__)

    def _conflict(self, labels, detail="", operation=None):
        name = operation or (self.flow.operation[0] if self.flow.operation else "its forward")
        line = None
        if self.comparing and self.at < len(self.found.events):
            line = self.found.events[self.at][2]
        return Conflict(labels, name, self.flow.module, line, detail)

    def _event_conflict(self, event, call, full):
        shadows = [*call.shadows, *(s for _, s in event[3])]
        shadows += [s for _, s in full[3]] if full is not None else []
        return Conflict(_joined(shadows), event[0], event[1], event[2] or (full and full[2]))


def _joined(shadows):
    found = [flat(s) for s in shadows if s is not None]
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
