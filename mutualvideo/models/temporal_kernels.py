"""Temporal kernels of ResNets for clips: which blocks look at other frames."""

from collections.abc import Sequence

from fvcore.common.config import CfgNode

from mutualvideo.errors import InputError, shown

# Residual blocks of the stages res2 to res5.
DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def require_depth(cfg: CfgNode) -> int:
    """RESNET.DEPTH, if PyTorchVideo can build it."""
    if cfg.RESNET.DEPTH not in DEPTHS:
        raise InputError(f"RESNET.DEPTH {cfg.RESNET.DEPTH}: choose one of {tuple(DEPTHS)}")
    return cfg.RESNET.DEPTH


def stage_kernels(
    cfg: CfgNode, basis: Sequence[Sequence[int]], pathway: int = 0
) -> tuple[list[tuple[int, int, int]], ...]:
    """Kernels of the first convolution of every block, as PyTorchVideo takes them.

    Args:
        cfg: the configuration; RESNET.NUM_BLOCK_TEMP_KERNEL says how many blocks of a stage have
            the kernels of ``basis``, in turn; the others have 1. Empty: all have them.
        basis: for each stage the temporal kernels of its blocks, which repeat.
        pathway: 0, or 1: the Fast pathway.

    Returns:
        tuple of a list of (frames, 1, 1) for each stage; PyTorchVideo repeats the list over the
        blocks of the stage.

    Raises:
        InputError: naming the key, if it does not fit RESNET.DEPTH.
    """
    counts = _counts(cfg, pathway)
    depths, found = DEPTHS[require_depth(cfg)], []
    for kernels, depth, count in zip(basis, depths, counts, strict=True):
        if count is not None:
            kernels = [kernels[n % len(kernels)] if n < count else 1 for n in range(depth)]
        found.append([(kernel, 1, 1) for kernel in kernels])
    return tuple(found)


def _counts(cfg: CfgNode, pathway: int) -> Sequence[int | None]:
    lists, depth = cfg.RESNET.NUM_BLOCK_TEMP_KERNEL, require_depth(cfg)
    if not lists:
        return (None,) * 4
    try:
        counts = [stage[pathway] for stage in lists]
    except (IndexError, TypeError):
        counts = []
    fits = len(counts) == 4 and all(
        type(count) is int and 0 <= count <= blocks
        for count, blocks in zip(counts, DEPTHS[depth], strict=True)
    )
    if not fits:
        raise InputError(
            f"RESNET.NUM_BLOCK_TEMP_KERNEL is {shown(lists)}, expected for each of the four stages "
            f"a list of one number for each pathway, at most {DEPTHS[depth]} (RESNET.DEPTH {depth})"
        )
    return counts
