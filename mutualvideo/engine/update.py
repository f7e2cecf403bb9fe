"""One optimiser step: passes, precision, clipping, and what is done when a loss is not finite."""

import logging
from dataclasses import dataclass

import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from mutualvideo.engine.buffers import Buffers
from mutualvideo.engine.ema import build_ema
from mutualvideo.engine.optimizer import build_optimizer, set_learning_rate
from mutualvideo.engine.tasks import task_of
from mutualvideo.errors import InputError
from mutualvideo.mutual import Passes, Teaching, not_finite
from mutualvideo.run.distributed import gather_to_main, sum_over_processes
from mutualvideo.slim import training_shape

logger = logging.getLogger(__name__)

_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Update:
    """What a step did.

    Attributes:
        results: list of :class:`~mutualvideo.mutual.PassResult`.
        fault: why nothing was changed by it, or ``None``; in the main process with the
            sub-networks' names. In all processes or in none.
    """

    results: list
    fault: str | None


class Updater:
    """Optimiser, gradient scaler and moving average of a network.

    A step whose losses or gradients are not finite changes nothing: neither weights nor optimiser
    nor BatchNorm statistics. Gradients are judged after they were summed over the processes, so
    all processes judge alike. In float16 gradients that overflow while all losses are finite are
    no fault: the scaler lowers its factor, and the weights wait.

    Args:
        cfg: the configuration.
        device: where the network lies.
        model: the slimmable network, in training mode.
        parallel: ``DistributedDataParallel`` around it, or ``None``.
        class_weights: float (classes,), of the loss on the labels; ``None``: 1 each.

    Raises:
        InputError: naming the key of ``TRAIN`` or ``SOLVER`` that is wrong.
    """

    def __init__(self, cfg, device, model, parallel=None, class_weights=None):
        self.model, self._step = model, task_of(cfg).step(cfg)
        self.optimizer = build_optimizer(model, cfg)
        self.ema = build_ema(model, cfg)
        precision = autocast_dtype(cfg)
        if precision is torch.bfloat16:
            _check_bfloat16(device)
        # bfloat16 has the range of float32 and needs no scaling.
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)
        self._passes = Passes(
            parallel, cfg.TRAIN.MICRO_BATCHES, precision, lambda loss: self.scaler.scale(loss)
        )
        weights = None if class_weights is None else class_weights.to(device)
        self._teaching = Teaching(cfg.MUTUAL.LABEL_SHARE, cfg.DATA.MULTI_LABEL, weights)
        self._max_norm = cfg.SOLVER.CLIP_GRAD_L2NORM
        self.ordered = False  # whether its channels were; ``None``: not known
        self._before = Buffers(model)

    def __call__(self, clips, targets, subnets, label_smoothing, rate, strength=1.0, norm_parts=1):
        """Takes one step at learning rate ``rate``; the rest as ``mutual_step`` takes it.

        ``strength``: factor on the losses of all sub-networks but the full one. ``norm_parts``: in
        how many parts BatchNorm normalises the clips; of TRAIN.MICRO_BATCHES each counts for one.
        The first of ``subnets`` is the full network of the step, and moves running statistics.
        """
        parts = max(1, norm_parts // self._passes.parts)
        with training_shape(self.model, subnets[0], parts):
            return self._take(clips, targets, subnets, label_smoothing, rate, strength)

    def _take(self, clips, targets, subnets, label_smoothing, rate, strength):
        self._before.keep()
        set_learning_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        weights = [1.0] + [strength] * (len(subnets) - 1)
        results = self._step(
            self.model,
            clips,
            targets,
            subnets,
            label_smoothing,
            self._passes,
            teaching=self._teaching,
            weights=weights,
        )
        self.scaler.unscale_(self.optimizer)
        norm = get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        fault = None
        if torch.isfinite(norm):
            self._apply(norm)
        else:
            fault = self._fault(results)
            if fault is not None:
                self._before.put_back()
        self.scaler.update()
        return Update(results, fault)

    def _apply(self, norm):
        if self._max_norm > 0:
            clip_grads_with_norm_(self.model.parameters(), self._max_norm, norm)
        self.scaler.step(self.optimizer)
        if self.ema is not None:
            self.ema.update_parameters(self.model)

    def _fault(self, results):
        """Why gradients are not finite, but for the overflow that the scaler is there for."""
        named = [f"the loss of {r.subnet} is {r.loss.item()}" for r in not_finite(results)]
        count = sum_over_processes(torch.tensor(len(named), device=results[0].loss.device))
        texts = gather_to_main(named) or []
        if count:
            return ", ".join(dict.fromkeys(text for part in texts for text in part)) or "a loss"
        if self.scaler.is_enabled() and self.scaler.get_scale() >= 1:
            return None
        return "the gradients are not finite, all losses are"


def autocast_dtype(cfg):
    """dtype of ``torch.autocast`` in training, or ``None``: float32.

    Raises:
        InputError: if TRAIN.PRECISION is neither bfloat16 nor float16.
    """
    if cfg.TRAIN.PRECISION not in _TYPES:
        raise InputError(
            f"TRAIN.PRECISION {cfg.TRAIN.PRECISION}: choose one of {', '.join(_TYPES)}"
        )
    return _TYPES[cfg.TRAIN.PRECISION] if cfg.TRAIN.MIXED_PRECISION else None


def _check_bfloat16(device):
    if device.type == "cpu":
        # Seen with torch 2.15 on an AMD EPYC: of convolutions of a few pixels.
        logger.warning(
            "bfloat16 on a CPU: gradients of small convolutions may be wrong there (oneDNN); "
            "TRAIN.PRECISION float16 is not affected"
        )
    elif device.type == "cuda":
        with torch.cuda.device(device):
            if not torch.cuda.is_bf16_supported(including_emulation=False):
                # torch would emulate it, far more slowly than it computes in float32.
                raise InputError(
                    f"TRAIN.PRECISION bfloat16: {torch.cuda.get_device_name(device)} has none; set "
                    "TRAIN.PRECISION float16 or TRAIN.MIXED_PRECISION False"
                )
