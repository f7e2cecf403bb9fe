"""Rules of operations that move entries: the same operation moves their labels."""

import numpy as np
import torch

from mutualvideo.slim.tracing.labels import FREE, WHOLE
from mutualvideo.slim.tracing.rules.call import Unfollowed
from mutualvideo.slim.tracing.rules.operation_names import OF_THE_TENSOR
from mutualvideo.slim.tracing.shadow import LIMIT, compress, flat, is_labelled, varying


def follow_move(call, args=None):
    """Runs the operation itself on the labels."""
    tensor, shadow = call.tensors[0], call.shadows[0]
    if shadow is None or call.func._overloadname == "dtype":
        raise Unfollowed("takes positions from channels")
    shape = call.shapes[0]
    func = call.func
    if call.written is not None:
        func = _without_writing(func, call.name)
    if num_entries(shape) > LIMIT:
        raise Unfollowed("has too many entries to be followed")
    arguments = [shadow.expand(shape) if value is tensor else value for value in call.args]
    kwargs = {k: v for k, v in call.kwargs.items() if k not in OF_THE_TENSOR}
    if call.name == "view":
        try:
            moved = func(*arguments, **kwargs)
        except RuntimeError:  # labels lie in memory in their own way
            moved = arguments[0].reshape(call.args[1])
    elif call.name in ("_unsafe_view", "_reshape_alias"):
        moved = arguments[0].reshape(call.args[1])
    else:
        moved = func(*arguments, **kwargs)
    moved = [moved] if isinstance(moved, torch.Tensor) else list(moved)
    return [after_move(call, compress(one)) for one in moved]


def _without_writing(func, name):
    """The operation ``name`` that takes what ``func``, its form in place, takes."""
    found = getattr(torch.ops.aten, name)
    wanted = [(a.name, str(a.type)) for a in func._schema.arguments]
    overloads = [getattr(found, overload) for overload in found.overloads()]
    same = (o for o in overloads if [(a.name, str(a.type)) for a in o._schema.arguments] == wanted)
    return next(same)


def after_move(call, shadow):
    """What a movement left; a single channel is one that has to be there at every width."""
    if is_labelled(shadow) and not varying(shadow):
        call.flow.singles.append(int(flat(shadow)[0]))
        if not call.flow.narrow:
            call.flow.pin(shadow, call.flow.why(call, "takes one channel"))
            return None
    return shadow


def num_entries(shape):
    return int(np.prod(shape, dtype=np.int64))


def follow_reshape(call):
    moved = follow_move(call)
    before, after = call.shadows[0], moved[0]
    if is_labelled(after) and len(varying(after)) > len(varying(before)):
        # (groups, channels of each): every row is a block of its own.
        dims = sorted(varying(after))[:-1]
        pieces = torch.zeros(after.shape, dtype=torch.int64)
        for dim in dims:
            size = after.shape[dim]
            shape = [1] * after.dim()
            shape[dim] = size
            pieces = pieces * size + torch.arange(size).view(shape)
        call.flow.book.cut(flat(after), pieces.reshape(-1).numpy())
    return moved


def follow_cut(call):
    """split, slice, select, unbind: the channels are taken apart."""
    tensor, shadow = call.tensors[0], call.shadows[0]
    dim = (call.arg("dim") or 0) % max(tensor.dim(), 1)
    moved = follow_move(call)
    step = call.arg("step", 1) if call.name == "slice" else 1
    if is_labelled(shadow) and dim in varying(shadow) and step == 1:
        whole = call.results[0].dim() == tensor.dim() and (
            call.results[0].shape[dim] == call.shapes[0][dim]
        )
        if not whole:
            _cut_at(call, shadow, dim)
    return moved


def _cut_at(call, shadow, dim):
    size = call.shapes[0][dim]
    pieces = np.zeros(size, np.int64)
    positions = torch.arange(size)
    view = [1] * len(call.shapes[0])
    view[dim] = size
    arguments = [positions.view(view) if v is call.tensors[0] else v for v in call.args]
    parts = call.func(*arguments, **call.kwargs)
    parts = [parts] if isinstance(parts, torch.Tensor) else parts
    for number, part in enumerate(parts, 1):
        pieces[part.reshape(-1).numpy()] = number
    shape = [1] * shadow.dim()
    shape[dim] = size
    by_entry = torch.from_numpy(pieces).view(shape).expand(shadow.shape)
    call.flow.book.cut(flat(shadow), by_entry.reshape(-1).numpy())


def follow_as_strided(call):
    same = tuple(call.results[0].shape) == call.shapes[0]
    if same and call.shadows[0] is not None:
        strides = zip(call.shapes[0], call.arg("stride"), call.tensors[0].stride(), strict=True)
        if all(size == 1 or ours == theirs for size, ours, theirs in strides):
            return [call.shadows[0]]
    raise Unfollowed("takes entries by where they lie in memory")


def follow_keep(call):
    """The result has the entries of the first tensor, each in its place."""
    return [call.shadows[0]] * len(call.results)


def follow_along_dims(call):
    """flip, roll: nothing moves for labels that do not change along the dimensions."""
    shadow = call.shadows[0]
    dims = {d % len(call.shapes[0]) for d in call.arg("dims")}
    if not dims & varying(shadow) and (dims or call.name == "flip"):
        return [shadow]
    return (
        [after_move(call, compress(call.func(shadow, *call.args[1:])))]
        if dims
        else follow_move(call)
    )


def follow_pad(call):
    shadow, pad = call.shadows[0], list(call.arg("pad"))
    dims = len(call.shapes[0])
    kept = []
    for place in range(0, len(pad), 2):
        touches = dims - 1 - place // 2 in varying(shadow)
        kept += pad[place : place + 2] if touches else [0, 0]
    if any(amount < 0 for amount in kept):
        raise Unfollowed("cuts channels off")
    value = call.arg("value")
    filled = FREE if not isinstance(value, torch.Tensor) else WHOLE
    return [torch.nn.functional.pad(shadow, kept, value=filled)]


def follow_index_select(call):
    shadow, index = call.shadows[0], call.arg("index")
    if shadow is None:
        raise Unfollowed("takes positions from channels")
    dim = call.arg("dim") % len(call.shapes[0])
    if dim not in varying(shadow):
        return [shadow]
    if index.is_meta:
        raise Unfollowed("takes channels by an index that is not known")
    return [after_move(call, compress(shadow.index_select(dim, index.cpu())))]


def follow_index(call):
    shadow, indices = call.shadows[0], call.arg("indices")
    if not is_labelled(shadow):
        raise Unfollowed("takes positions from channels")
    if any(isinstance(i, torch.Tensor) and is_labelled(call.shadow(i)) for i in indices):
        raise Unfollowed("takes positions from channels")
    used = [dim for dim, index in enumerate(indices) if index is not None]
    given = [indices[dim] for dim in used]
    if any(i.dtype in (torch.bool, torch.uint8) for i in given):
        raise Unfollowed("takes entries by a mask")
    if len(given) == 1 and given[0].dim() == 1 and used[0] not in varying(shadow):
        return [shadow]
    if any(i.is_meta for i in given):
        raise Unfollowed("takes channels by an index that is not known")
    if num_entries(call.shapes[0]) > LIMIT:
        raise Unfollowed("has too many entries to be followed")
    index = [None if i is None else i.cpu() for i in indices]
    return [after_move(call, compress(call.func(shadow.expand(call.shapes[0]), index)))]
