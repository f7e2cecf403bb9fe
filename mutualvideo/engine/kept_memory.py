"""How much memory a training step takes: what autograd keeps for the backward pass."""

import torch


def kept_bytes(model, step):
    """Bytes that autograd keeps at once in ``step``, without the weights: each storage once."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept, most = {}, 0

    def keep(tensor):
        nonlocal most
        storage = tensor.untyped_storage()
        place = storage.data_ptr()
        if place not in own:
            count, size = kept.get(place, (0, storage.nbytes()))
            kept[place] = count + 1, size
            most = max(most, sum(size for _, size in kept.values()))
        return _Kept(tensor, place, kept)

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept.tensor):
        step()
    return most


class _Kept:
    """A tensor that autograd keeps; when it lets go, ``kept`` knows."""

    def __init__(self, tensor, place, kept):
        self.tensor, self._place, self._kept = tensor, place, kept

    def __del__(self):
        count, size = self._kept.get(self._place, (0, 0))
        if count > 1:
            self._kept[self._place] = count - 1, size
        else:
            self._kept.pop(self._place, None)
