"""What a step found, over the clips of all processes."""

import torch

from mutualvideo.run.distributed import sum_over_processes


def means_over_processes(results, clips):
    """Loss and error of every sub-network of a step: one all-reduce of a few numbers.

    Args:
        results: list of :class:`~mutualvideo.mutual.step.PassResult`, as long in all processes.
        clips: how many of this process's clips they are of.

    Returns:
        list of (mean loss, top-1 error in percent), floats.
    """
    losses = torch.stack([result.loss for result in results]).double() * clips
    correct = torch.stack([result.correct for result in results]).double()
    totals = sum_over_processes(torch.cat([losses, correct, losses.new_full((1,), clips)]))
    losses, correct = (totals[:-1] / totals[-1]).chunk(2)
    return list(zip(losses.tolist(), (100 - 100 * correct).tolist(), strict=True))
