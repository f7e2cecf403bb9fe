"""What a training took, over all the times that it was continued: ``training_cost.json``."""

import json
import os
import time
from collections import Counter

from mutualvideo.files import atomic_path
from mutualvideo.slim import count_costs, set_subnet, slim_state, training_shape
from mutualvideo.slim.twin_base import slim_layers

COST_NAME = "training_cost.json"
# Steps whose draws are looked at; of more, so many of them, spread evenly.
_STEPS = 20_000
# A backward pass computes two products for every one of the forward pass.
_PASSES = 3


class TrainingCost:
    """Processor and wall-clock seconds of a run, carried on when it is continued.

    Args:
        folder: OUTPUT_DIR of the run.
        resumed: whether it goes on; else what a run before left there does not count.
    """

    def __init__(self, folder, resumed):
        self._path = os.path.join(folder, COST_NAME)
        before = _read(self._path) if resumed else {}
        self._before = before.get("cpu_seconds", 0.0), before.get("wall_seconds", 0.0)
        self._began = _now()

    def save(self, epochs, steps, macs):
        """Writes the file: ``epochs``, ``steps`` and ``macs`` are those since the beginning."""
        spent = [b + n - s for b, n, s in zip(self._before, _now(), self._began, strict=True)]
        content = {
            "epochs": epochs,
            "steps": steps,
            "macs": macs,
            "cpu_seconds": round(spent[0], 1),
            "wall_seconds": round(spent[1], 1),
        }
        with atomic_path(self._path) as temporary:
            temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")


def training_macs(model, sampler, steps, clips, step_of=None, costs=count_costs):
    """Multiply-adds of the first ``steps`` steps of ``clips`` clips, forward and backward.

    Args:
        model: the slimmable network.
        sampler: :class:`~mutualvideo.mutual.SubnetSampler`; its draws are run through again.
        steps: how many.
        clips: of each, if there is no ``step_of``.
        step_of: function from a step's number to (its clips, what
            :meth:`~mutualvideo.mutual.SubnetSampler.draw` cuts its sub-networks to).
        costs: what counts them, as :func:`~mutualvideo.slim.count_costs` does.

    Returns:
        int; of more than 20,000 steps estimated on so many of them.
    """
    looked_at = range(steps)
    if steps > _STEPS:
        looked_at = [step * steps // _STEPS for step in range(_STEPS)]
    drawn = {}
    for step in looked_at:
        count, clip = (clips, None) if step_of is None else step_of(step)
        of_clip = drawn.setdefault(clip, Counter())
        for subnet in sampler.draw(step, clip):
            of_clip[subnet] += count
    found = 0
    for clip, counts in drawn.items():
        with training_shape(model, sampler.full if clip is None else sampler.full.within(clip)):
            found += _weighted_macs(model, counts, costs)
    set_subnet(model, slim_state(model).full)
    return found * _PASSES * steps // max(1, len(looked_at))


def _weighted_macs(model, counts, costs):
    """Multiply-adds of sub-networks times how often each of them ran."""
    # Widths are drawn from a range, but most of them round to the same channels.
    alike = {}
    for subnet, count in counts.items():
        key = (_channels(model, subnet.width), subnet.frames, subnet.size)
        first, total = alike.get(key, (subnet, 0))
        alike[key] = first, total + count
    found = costs(model, [subnet for subnet, _ in alike.values()])
    return sum(found[subnet].macs * count for subnet, count in alike.values())


def _channels(model, width):
    divisor = slim_state(model).divisor
    return tuple(
        layer.out_rule.active(layer.weight.shape[0], width, divisor)
        for _, layer in slim_layers(model)
        if layer.weight is not None
    )


def _now():
    return sum(os.times()[:4]), time.monotonic()  # also of workers that have ended


def _read(path):
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
