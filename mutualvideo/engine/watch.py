"""Watching a run: every LOG_PERIOD steps a line for people, ``json_stats`` lines, TensorBoard."""

import logging
import math
import time

from tqdm.std import EMA

from mutualvideo.config import takes_pictures
from mutualvideo.errors import InputError
from mutualvideo.run.log import log_json_stats

logger = logging.getLogger(__name__)

# How much the steps since the last line count in the time left; the rest is those before.
_SMOOTHING = 0.3


class Watch:
    """What is said about the steps and epochs of a run; silent but in the main process.

    The training loop tells of every step in three calls: :meth:`data_came`, :meth:`step_done`
    and, where that says so, :meth:`line`. Steps are counted from 0 over all epochs. Nothing
    here waits for the device: ``line`` takes the loss as a number, so the device has done the
    steps by then, and their time is that of all since the last line together.

    Args:
        cfg: the configuration.
        steps: of an epoch.
        scalars: :class:`~mutualvideo.run.log.Scalars`.
        clock: for the tests.

    Raises:
        InputError: if LOG_PERIOD is below 1.
    """

    def __init__(self, cfg, steps, scalars, clock=time.perf_counter):
        if cfg.LOG_PERIOD < 1:
            raise InputError(f"LOG_PERIOD must be at least 1, not {cfg.LOG_PERIOD}")
        self._period, self._epochs, self._steps = cfg.LOG_PERIOD, cfg.SOLVER.MAX_EPOCH, steps
        self._clips = cfg.TRAIN.BATCH_SIZE
        self._what = "images" if takes_pictures(cfg) else "clips"
        self._scalars, self._clock, self._step_s = scalars, clock, EMA(_SMOOTHING)
        self.epoch_begins()

    def epoch_begins(self):
        """What came before (an evaluation, a checkpoint) is part of no step."""
        self._began = self._mark = self._waiting = self._clock()
        self._count = self._waited = 0

    def data_came(self):
        """The batch of the next step is there."""
        self._waited += self._clock() - self._waiting

    def step_done(self, step):
        """Step ``step`` is on its way to the device; returns whether a line is due."""
        self._waiting = self._clock()
        self._count += 1
        return (step % self._steps + 1) % self._period == 0

    def line(self, step, rate, found):
        """Writes what the steps since the last line did.

        Times are means over these steps. The time left is that of the remaining steps, as long
        as those of late that this process did itself; evaluations come on top.

        Args:
            step: number of the last step.
            rate: its learning rate.
            found: ``[(subnet, loss, top-1 error in percent), ...]`` of it, over the clips of all
                processes, in the order in which sub-networks are drawn.
        """
        now = self._clock()
        dt, dt_data = (now - self._mark) / self._count, self._waited / self._count
        self._mark, self._count, self._waited = now, 0, 0
        left = round(self._step_s(dt) * (self._epochs * self._steps - step - 1))
        epoch, position = step // self._steps + 1, f"{step % self._steps + 1}/{self._steps}"
        timing = {"dt": dt, "dt_data": dt_data, "lr": rate, "eta_s": left}
        parts = []
        for role, (subnet, loss, top1_err) in zip(_roles(len(found)), found, strict=True):
            parts.append(f"{role} {subnet} loss {loss:.4f} top-1 {100 - top1_err:.2f} %")
            log_json_stats(
                {
                    "_type": "train_iter",
                    "epoch": epoch,
                    "iter": position,
                    "role": role,
                    "subnet": str(subnet),
                    "loss": loss,
                    "top1_err": top1_err,
                    **timing,
                }
            )
            drawn = {"width": subnet.width, "frames": subnet.frames, "size": subnet.size}
            self._scalars.add(
                {
                    f"step/loss_{role}": loss,
                    f"step/top1_err_{role}": top1_err,
                    **{f"drawn/{k}_{role}": v for k, v in drawn.items() if v is not None},
                },
                step,
            )
        self._scalars.add({f"step/{key}": value for key, value in timing.items()}, step)
        per_s = self._clips / dt
        self._scalars.add({f"step/{self._what}_per_s": per_s}, step)
        logger.info(
            "epoch %d/%d, step %s: %s; %.3f s a step, %.3f s waiting for data, %.1f %s/s, %s left",
            epoch,
            self._epochs,
            position,
            ", ".join(parts),
            dt,
            dt_data,
            per_s,
            self._what,
            clock_time(left),
        )
        self._waiting = self._clock()

    def epoch_done(self, whole, rate):
        """Writes what an epoch did.

        Args:
            whole: :class:`~mutualvideo.run.progress.Progress` of all processes.
            rate: the learning rate of its last step.
        """
        epoch, replaced = whole.epoch, whole.replaced.values()
        for message in replaced:
            logger.warning("replaced in epoch %d: %s", epoch + 1, message)
        name = f"{epoch + 1}/{self._epochs}"
        # Of none, if every step was skipped.
        loss = whole.loss / whole.clips if whole.clips else math.nan
        top1_err = 100 - 100 * whole.correct / whole.clips if whole.clips else math.nan
        log_json_stats(
            {
                "_type": "train_epoch",
                "epoch": name,
                "loss": loss,
                "lr": rate,
                "top1_err": top1_err,
                "videos_replaced": len(replaced),
                "steps_skipped": whole.skipped,
            }
        )
        self._scalars.add(
            {"train/loss": loss, "train/top1_err": top1_err}, (epoch + 1) * self._steps
        )
        logger.info(
            "epoch %s done in %s: loss %.4f top-1 %.2f %%, %d %s replaced, %d steps skipped",
            name,
            clock_time(self._clock() - self._began),
            loss,
            100 - top1_err,
            len(replaced),
            "images" if self._what == "images" else "videos",
            whole.skipped,
        )


def clock_time(seconds):
    """``h:mm:ss``; hours are not made days."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _roles(count):
    """What the ``count`` sub-networks of a step are, as ``SubnetSampler.draw`` orders them."""
    return (["full", "narrowest"] + [f"random{i + 1}" for i in range(count - 2)])[:count]
