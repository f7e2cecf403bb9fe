"""What has no twin: left whole, with a reason, or refused before anything is changed."""

import copy
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from mutualvideo.errors import InputError

TRANSFORMERS = (
    "transformers are out of reach, since slimmable() makes convolutional networks narrower and "
    "attention heads are tied to their channels"
)
# They may have no parameters at all.
_NORMS = (
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.modules.batchnorm._BatchNorm,
)


def keeps_forward(module, plain):
    """Whether ``module``, an instance of ``plain``, computes what ``plain`` does."""
    return all(
        getattr(type(module), name, None) is getattr(plain, name, None)
        for name in ("forward", "_conv_forward", "_check_input_dim")
    )


def refuse(name, module):
    """Raises InputError, with the way out, if ``module`` cannot be part of a slimmable network."""
    reason = None
    if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
        path = name or "the network itself"
        raise InputError(
            f"slimmable(): {path} ({type(module).__name__}): its parameters have no shape yet; run "
            "the network once, then make it slimmable"
        )
    if isinstance(module, nn.MultiheadAttention):
        reason = TRANSFORMERS
    elif isinstance(module, nn.SyncBatchNorm):
        reason = "give slimmable() the plain BatchNorm and synchronise afterwards"
    if reason is not None:
        raise refusal(name, type(module).__name__, reason, name)


def refusal(name, kind, reason, whole):
    """The InputError that names a module, why, and the rule that leaves ``whole`` as it is."""
    path = name or "the network itself"
    return InputError(
        f"slimmable(): {path} ({kind}): {reason}; what helps: rules={{{whole or '*'!r}: Fixed()}}, "
        "which leaves it, and what feeds it, whole"
    )


def whole_because(module, plain):
    """Why ``module``, an instance of the torch layer ``plain``, cannot be cut; or ``None``."""
    own = dict(module.named_parameters(recurse=False))
    if "parametrizations" in module._modules:
        return "its weight is parametrised"
    if isinstance(module.__dict__.get("weight"), torch.Tensor):  # weight_norm, pruning, ...
        return "a hook computes its weight before every pass"
    extra = {name: p for name, p in own.items() if name not in ("weight", "bias")}
    made = getattr(module, "out_channels", None)
    convolution = isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
    for name, parameter in extra.items():
        by_channel = convolution and module.groups == 1 and parameter.shape[:1] == (made,)
        if by_channel and made == module.in_channels and parameter.dim() == 1:
            by_channel = _is_of_outputs(module, name)
        if parameter.numel() > 1 and not by_channel:
            return f"what its parameter {name} does at another width is not known"
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)) and len(module.normalized_shape) != 1:
        return "it normalises more than the channels"
    if "ConvTranspose" in plain.__name__ and module.groups > 1:
        return "transposed convolutions in groups are not cut"
    if not own and not isinstance(module, _NORMS):
        return "its weight is not a parameter of its own"
    return None


@torch.enable_grad()
def _is_of_outputs(module, name):
    """Whether number k of the parameter ``name`` has to do with channel k that comes out alone.

    It might be one a channel that is read. ``module`` is a convolution.
    """
    layer = copy.deepcopy(module).to_empty(device="cpu").float().eval().requires_grad_(True)
    spread = zip(layer.kernel_size, layer.dilation, strict=True)
    shape = [2 * (size - 1) * apart + 2 for size, apart in spread]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
        x = torch.randn(2, layer.in_channels, *shape)
    try:
        own, last = getattr(layer, name), layer.out_channels - 1
        (found,) = torch.autograd.grad(layer(x)[:, last].sum(), own, allow_unused=True)
    except RuntimeError:
        return False
    return found is not None and not found[:last].any()


def is_within(name, patterns):
    """Whether ``name`` or a module that it is in fits one of the patterns."""
    parts = name.split(".")
    paths = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return any(fnmatchcase(path, pattern) for path in paths for pattern in patterns)
