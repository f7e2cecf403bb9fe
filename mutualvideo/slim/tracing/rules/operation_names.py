"""Which of torch's operations are of a kind, by name: an allow-list."""

FILLS = {"fill", "zero", "normal", "uniform", "bernoulli", "random", "exponential"}
FACTORIES = {
    "zeros", "ones", "full", "empty", "rand", "randn", "randint", "scalar_tensor", "empty_strided",
    "new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided", *FILLS,
}  # fmt: skip
OF_THE_TENSOR = {"dtype", "device", "layout", "pin_memory", "memory_format", "non_blocking"}
POSITIONS = {"argmax", "argmin", "max", "min"}

ELEMENTWISE = (
    "hardswish _prelu_kernel copy native_dropout rsub log_sigmoid_forward rrelu_with_noise "
    "masked_fill where floor_divide dropout _fused_dropout"
)
KEEPS = (
    "clone detach alias contiguous _to_copy lift_fresh lift_fresh_copy positive _conj "
    "resolve_conj resolve_neg _softmax _log_softmax softmax log_softmax _pin_memory"
)
SHAPES = "view _unsafe_view _reshape_alias reshape flatten unflatten"
MOVEMENTS = (
    "permute transpose t numpy_T squeeze unsqueeze expand repeat movedim unfold channel_shuffle "
    "native_channel_shuffle repeat_interleave diagonal"
)
CUTS = "split split_with_sizes slice select unbind chunk narrow unsafe_split unsafe_chunk"
REDUCTIONS = (
    "mean sum amax amin max min var std var_mean std_mean norm linalg_vector_norm logsumexp prod "
    "any all argmax argmin count_nonzero nansum aminmax"
)
ORDERED = (
    "cumsum cumprod logcumsumexp cummax cummin _cummax_helper _cummin_helper sort argsort topk "
    "kthvalue median mode"
)
PRODUCTS = "mm addmm bmm baddbmm linear matmul mv addmv dot"
SPATIAL = {
    1: "avg_pool1d max_pool1d adaptive_avg_pool1d adaptive_max_pool1d upsample_nearest1d "
    "upsample_linear1d reflection_pad1d replication_pad1d _upsample_nearest_exact1d",
    2: "avg_pool2d max_pool2d max_pool2d_with_indices adaptive_avg_pool2d _adaptive_avg_pool2d "
    "adaptive_max_pool2d upsample_nearest2d upsample_bilinear2d upsample_bicubic2d "
    "_upsample_nearest_exact2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa reflection_pad2d "
    "replication_pad2d grid_sampler_2d fractional_max_pool2d roi_align roi_pool",
    3: "avg_pool3d max_pool3d max_pool3d_with_indices adaptive_avg_pool3d _adaptive_avg_pool3d "
    "adaptive_max_pool3d upsample_nearest3d upsample_trilinear3d _upsample_nearest_exact3d "
    "reflection_pad3d replication_pad3d grid_sampler_3d",
}
MOVES = set(f"{SHAPES} {MOVEMENTS} {CUTS} flip roll index index_select constant_pad_nd".split())
