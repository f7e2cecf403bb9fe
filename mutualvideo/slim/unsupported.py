"""What slimmable() cannot make narrower, told by path and reason before anything is changed."""

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from mutualvideo.errors import InputError
from mutualvideo.slim.layers import TWINS

_REASONS = {
    nn.ConvTranspose1d: "transposed convolutions are not supported",
    nn.ConvTranspose2d: "transposed convolutions are not supported",
    nn.ConvTranspose3d: "transposed convolutions are not supported",
    nn.LayerNorm: "LayerNorm mixes all channels, so a narrower one is another function",
    nn.GroupNorm: "GroupNorm ties its groups to the full channel count",
    nn.MultiheadAttention: "attention heads are not slimmable",
    nn.RNNBase: "recurrent layers are not slimmable",
    nn.SyncBatchNorm: "give slimmable() the plain BatchNorm; synchronise afterwards",
}


def plain_class(module):
    """The torch layer that ``module`` is or comes from, of those that have a twin; or ``None``."""
    return next((plain for plain in TWINS if isinstance(module, plain)), None)


def keeps_forward(module, plain):
    """Whether ``module``, an instance of ``plain``, computes what ``plain`` does."""
    return all(
        getattr(type(module), name, None) is getattr(plain, name, None)
        for name in ("forward", "_conv_forward", "_check_input_dim")
    )


def refuse(name, module):
    """Raises InputError, naming the path and the reason, if ``module`` cannot be slimmed.

    Anything without parameters (pooling, activations, dropout) is width-agnostic, and so
    are single learned numbers.
    """
    reason = next((why for kind, why in _REASONS.items() if isinstance(module, kind)), None)
    own = dict(module.named_parameters(recurse=False))
    if reason is None and isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
        reason = "its parameters have no shape yet; run the network once, then make it slimmable"
    elif reason is None and plain_class(module) is not None:
        if "parametrizations" in module._modules or not own.keys() <= {"weight", "bias"}:
            reason = "its weight is parametrised; remove the parametrisation first"
    elif reason is None and any(parameter.numel() > 1 for parameter in own.values()):
        leaf, parameter = next((n, p) for n, p in own.items() if p.numel() > 1)
        reason = (
            f"it has a parameter {leaf} of shape {tuple(parameter.shape)}, and what that does at "
            "another width is not known"
        )
    if reason is not None:
        path = name or "the network itself"
        raise InputError(
            f"slimmable(): {path} ({type(module).__name__}): {reason}; or exclude it by name"
        )
