"""``torch.compile`` of the training passes, with a bound on the graphs.

The number of channels decides a graph, so every width is a graph of its own. Frames and sizes need
not be, where the network takes whatever clip comes; they are in a network that makes its pathways
inside (SlowFast), and on the CPU, where inductor makes gradients of convolutions for one shape.
Past its limit ``torch.compile`` goes on without graphs and says so in a log; here that is an error.
"""

import torch

from mutualvideo.errors import InputError
from mutualvideo.slim import channels_last, slim_state
from mutualvideo.slim.network_protocol import shapes_clips


def compile_training(model, subnets, max_graphs, backend="inductor", steps=None):
    """Compiles the passes of ``model`` in training, in place; all others run as they are.

    ``DistributedDataParallel`` around ``model`` runs the same. A copy is not compiled.

    Args:
        model: a slimmable network that takes one tensor.
        subnets: every sub-network that will train.
        max_graphs: bound on the graphs; each takes a minute or so to compile.
        backend: of ``torch.compile``.
        steps: where steps differ: ``[(how many clips, in how many parts BatchNorm normalises them,
            what their sub-networks are cut to), ...]`` of all kinds; ``None``: all are alike.

    Raises:
        InputError: if ``subnets`` need more graphs, or BatchNorm is over processes; in
            training, if there are more graphs for any other reason.
    """
    from torch import _dynamo as dynamo  # takes a second: not for whoever does not compile

    if slim_state(model).over_processes:
        raise InputError(
            "TRAIN.COMPILE: BN.NORM_TYPE sync_batchnorm talks to other processes within a pass, "
            "which is no graph: set it to batchnorm"
        )
    any_shape = _takes_any_shape(model, backend)
    needed = _graphs(model, subnets, any_shape, steps)
    if needed > max_graphs:
        raise InputError(
            f"TRAIN.COMPILE: the sub-networks that are drawn need {needed} graphs, and "
            f"TRAIN.COMPILE_GRAPHS is {max_graphs}: raise it, or shorten MUTUAL.WIDTHS"
            + ("" if any_shape else ", MUTUAL.FRAMES or MUTUAL.SIZES")
            + ("" if steps is None else "; or have fewer shapes of clips (MULTIGRID)")
        )
    plain = model._call_impl
    dynamic = None if any_shape else False
    compiled = torch.compile(plain, backend=backend, fullgraph=True, dynamic=dynamic)

    def call(clips):
        if not (model.training and torch.is_grad_enabled()):
            return plain(clips)
        # How clips lie in memory, and what they are a view of, would make graphs of their own.
        clips = channels_last(clips).data
        if any_shape:
            dynamo.maybe_mark_dynamic(clips, list(range(2, clips.dim())))
        try:
            with dynamo.config.patch(
                recompile_limit=max_graphs,
                accumulated_recompile_limit=max_graphs,
                fail_on_recompile_limit_hit=True,
                specialize_float=True,  # else the second width turns all of them into a variable
            ):
                return compiled(clips)
        except dynamo.exc.FailOnRecompileLimitHit as error:
            raise InputError(
                f"TRAIN.COMPILE: there are more graphs than TRAIN.COMPILE_GRAPHS {max_graphs}: "
                "raise it; what they differ in is shown with TORCH_LOGS=recompiles"
            ) from error

    model._compiled_call_impl = call  # where nn.Module.compile() puts it; copies leave it out


def _graphs(model, subnets, any_shape, steps):
    """An upper bound on the graphs that ``subnets`` need."""
    full, found = slim_state(model).full, set()
    for clips, parts, clip in [(None, 1, None)] if steps is None else steps:
        whole = full if clip is None else full.within(clip)
        for one in subnets if clip is None else [one.within(clip) for one in subnets]:
            shape = one.width if any_shape else one
            found.add((shape, one == whole if any_shape else None, clips, parts))
    return len(found)


def _takes_any_shape(model, backend):
    """Whether one graph does for clips of every shape."""
    on_cpu = next(model.parameters()).device.type == "cpu"
    return not shapes_clips(model) and not (on_cpu and backend == "inductor")
