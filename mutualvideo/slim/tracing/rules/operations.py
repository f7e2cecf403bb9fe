"""Which rule an operation has."""

import torch

from mutualvideo.slim.tracing.rules.call import Unfollowed
from mutualvideo.slim.tracing.rules.combining import follow_elementwise, follow_free, follow_like
from mutualvideo.slim.tracing.rules.joining import follow_cat, follow_stack
from mutualvideo.slim.tracing.rules.layer_operations import (
    follow_convolution,
    follow_glu,
    follow_group_norm,
    follow_product,
    layer_norm_dim,
    over_channels,
    over_space,
)
from mutualvideo.slim.tracing.rules.moving import (
    follow_along_dims,
    follow_as_strided,
    follow_cut,
    follow_index,
    follow_index_select,
    follow_keep,
    follow_move,
    follow_pad,
    follow_reshape,
)
from mutualvideo.slim.tracing.rules.operation_names import (
    CUTS,
    ELEMENTWISE,
    FACTORIES,
    KEEPS,
    MOVEMENTS,
    ORDERED,
    PRODUCTS,
    REDUCTIONS,
    SHAPES,
    SPATIAL,
)
from mutualvideo.slim.tracing.rules.reducing import follow_in_order, follow_reduction
from mutualvideo.slim.tracing.shadow import is_labelled


def rule_of(call):
    """The rule for ``call``; ``None`` where nothing that goes in has labels."""
    name = call.name
    if name in FACTORIES:
        return follow_free
    if name.endswith("_like") and name != "view_like":
        return follow_like
    if all(shadow is None for shadow in call.shadows):
        return None
    if name in _RULES:
        return _RULES[name]
    if torch.Tag.pointwise in call.func.tags:
        return follow_elementwise
    return follow_unknown


def follow_unknown(call):
    if not any(is_labelled(s) for s in call.shadows):
        return [None] * len(call.results)
    raise Unfollowed("is not an operation that channels are followed through")


_RULES = {
    **dict.fromkeys(ELEMENTWISE.split(), follow_elementwise),
    **dict.fromkeys(KEEPS.split(), follow_keep),
    **dict.fromkeys(SHAPES.split(), follow_reshape),
    **dict.fromkeys(MOVEMENTS.split(), follow_move),
    **dict.fromkeys(CUTS.split(), follow_cut),
    **dict.fromkeys(REDUCTIONS.split(), follow_reduction),
    **dict.fromkeys(ORDERED.split(), follow_in_order),
    **dict.fromkeys(PRODUCTS.split(), follow_product),
    **{name: over_space(n) for n, names in SPATIAL.items() for name in names.split()},
    **dict.fromkeys(("flip", "roll"), follow_along_dims),
    "constant_pad_nd": follow_pad,
    "as_strided": follow_as_strided,
    "index_select": follow_index_select,
    "index": follow_index,
    "cat": follow_cat,
    "stack": follow_stack,
    "glu": follow_glu,
    "convolution": follow_convolution,
    "native_layer_norm": over_channels(layer_norm_dim),
    "native_group_norm": follow_group_norm,
    **dict.fromkeys(
        (
            "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
            "cudnn_batch_norm _batch_norm_with_update _batch_norm_no_update batch_norm"
        ).split(),
        over_channels(lambda call: 1),
    ),
}
