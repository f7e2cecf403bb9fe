"""Runs a network at three widths: do the shapes agree?"""

import torch

from mutualvideo.errors import InputError
from mutualvideo.slim.layers import arriving_channels, slim_layers
from mutualvideo.slim.tracing.trace import fresh, running_module


@torch.no_grad()
def check_widths(model, args, inputs):
    """One forward pass at the narrowest, a middle and the widest width.

    Args:
        model: the slimmable network in eval mode.
        args: tuple of positional arguments, on its device.
        inputs: ``{layer: Segments}``: what each layer is meant to read.

    Raises:
        InputError: naming the first module whose shapes disagree.
    """
    state = model.slim_state
    low, high = state.width_range
    for width in dict.fromkeys((low, (low + high) / 2, high)):
        state.select(width)
        with running_module(model) as stack:
            handles = [
                layer.register_forward_pre_hook(_expect(name, inputs[name], state))
                for name, layer in slim_layers(model)
                if name in inputs
            ]
            try:
                model(*fresh(args))
            except InputError:
                raise
            except Exception as error:
                path = (stack and stack[-1]) or "the network's own forward"
                kind = type(model.get_submodule(stack[-1])).__name__ if stack else ""
                reason = str(error).strip().split("\n")[0]
                raise InputError(
                    f"slimmable(): at width {width:g} the shapes disagree in {path} ({kind}): "
                    f"{reason}. A size written into its forward, or channels combined in a way "
                    "that was not found: exclude it by name, or give rules or segments"
                ) from error
            finally:
                for handle in handles:
                    handle.remove()
    state.select(high)


def _expect(name, segments, state):
    def hook(layer, inputs):
        wanted = segments.active(state.width, state.divisor)
        arriving = arriving_channels(layer, inputs[0])
        if arriving != wanted:
            raise InputError(
                f"slimmable(): at width {state.width:g} the shapes disagree in {name}: {arriving} "
                f"channels arrive where {wanted} were expected. A size written into the forward "
                "before it, or rules that contradict each other: exclude it by name, or give rules"
            )

    return hook
